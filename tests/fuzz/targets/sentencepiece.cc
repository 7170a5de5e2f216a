// SentencePiece's tokenizer.model, and what was accepted on a text of every kind of character.
#include "engine/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {

void sentencepiece(std::string_view bytes) {
  constexpr std::string_view kText = "Hello abc  bc,\n\n\tab ab <s>\xED\x95\x9C <sep> \xf0\x9f\x98\x80</s> x";
  const auto tokenizer = text::Tokenizer::parse_sentencepiece(bytes, "tokenizer.model");
  if (!tokenizer.ok()) return;
  const auto ids = tokenizer->encode(kText, true);
  if (!ids.ok()) return;
  for (const int32_t id : *ids) require(id >= 0 && id < tokenizer->vocab_size(), "an id outside of the vocabulary");
  tokenizer->decode(*ids, false);
}

}  // namespace gridquant::fuzz
