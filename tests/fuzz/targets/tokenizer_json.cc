// tokenizer.json, and what was accepted on a text of every kind of character.
#include "engine/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {

void tokenizer_json(std::string_view bytes) {
  constexpr std::string_view kText = "Hello world's  12,345\n\n\tab ab <s>한국어 문장 é\xcc\x81 \xf0\x9f\x98\x80</s> x";
  const auto tokenizer = text::Tokenizer::parse(bytes, "tokenizer.json");
  if (!tokenizer.ok()) return;
  for (const bool add_special : {false, true}) {
    const auto ids = tokenizer->encode(kText, add_special);
    if (!ids.ok()) continue;
    for (const int32_t id : *ids) require(id >= 0 && id < tokenizer->vocab_size(), "an id outside of the vocabulary");
    tokenizer->decode(*ids, add_special);
  }
}

}  // namespace gridquant::fuzz
