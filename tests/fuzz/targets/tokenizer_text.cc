// Any text through a byte-level tokenizer: what is decoded again is the text.
#include <string>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {
namespace {

// GPT-2's printable character of a byte, as UTF-8.
std::string byte_character(int byte) {
  int next = 256;
  int code_point = 0;
  for (int b = 0; b <= byte; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
    code_point = printable ? b : next++;
  }
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3F))};
}

text::Tokenizer make_tokenizer() {
  using nlohmann::json;
  json vocab = json::object();
  for (int b = 0; b < 256; ++b) vocab[byte_character(b)] = b;
  json merges = json::array();
  for (const std::string pair : {"ab", "he", "in", "\xc4\xa0t", "er"}) {
    const size_t half = pair[0] == '\xc4' ? 2 : 1;
    merges.push_back(pair.substr(0, half) + " " + pair.substr(half));
    vocab[pair] = vocab.size();
  }
  const json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const json added = {{"id", vocab.size()}, {"content", "<s>"},    {"single_word", false}, {"lstrip", false},
                      {"rstrip", false},    {"normalized", false}, {"special", true}};
  const json file = {{"version", "1.0"},
                     {"added_tokens", json::array({added})},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", level},
                     {"post_processor", nullptr},
                     {"decoder", level},
                     {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
  auto tokenizer = text::Tokenizer::parse(file.dump(), "built-in");
  require(tokenizer.ok(), "the built-in tokenizer is refused");
  return *std::move(tokenizer);
}

}  // namespace

void tokenizer_text(std::string_view bytes) {
  static const text::Tokenizer tokenizer = make_tokenizer();
  const auto ids = tokenizer.encode(bytes, false);
  if (!ids.ok()) return;  // not UTF-8
  require(tokenizer.decode(*ids, false) == bytes, "the decoded text is another one");
}

}  // namespace gridquant::fuzz
