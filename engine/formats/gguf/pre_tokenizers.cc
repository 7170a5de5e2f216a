// What the names in tokenizer.ggml.pre stand for: the regular expressions of the tokenizers that llama.cpp's converter
// knows by these names, as their tokenizer.json has them.
#include <algorithm>
#include <string_view>

#include "engine/formats/gguf/tokenizer.h"

namespace gridquant::formats {
namespace {

using nlohmann::ordered_json;

constexpr char kLlama3[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?)"
                           R"([^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kTekken[] = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
                           R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
                           R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kGpt4o[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// How a text is cut before merging.
enum class Cut {
  kGpt2,           // ByteLevel's own expression
  kDigitsAndGpt2,  // every digit alone, then that
  kExpression,     // one expression
  kDeepseekCoder,  // several, one after the other
};

struct Known {
  std::string_view name;
  Cut cut;
  const char* expression = nullptr;
};

constexpr Known kKnown[] = {
    {"gpt-2", Cut::kGpt2},
    {"mpt", Cut::kGpt2},
    {"olmo", Cut::kGpt2},
    {"phi-2", Cut::kGpt2},
    {"smollm", Cut::kDigitsAndGpt2},
    {"starcoder", Cut::kDigitsAndGpt2},
    {"refact", Cut::kDigitsAndGpt2},
    {"command-r", Cut::kDigitsAndGpt2},
    {"exaone", Cut::kDigitsAndGpt2},
    {"deepseek-coder", Cut::kDeepseekCoder},
    {"llama3", Cut::kExpression, kLlama3},
    {"llama-v3", Cut::kExpression, kLlama3},
    {"llama-bpe", Cut::kExpression, kLlama3},
    {"midm-2.0", Cut::kExpression, kLlama3},
    {"qwen2", Cut::kExpression, kQwen2},
    {"deepseek-r1-qwen", Cut::kExpression, kQwen2},
    {"kormo", Cut::kExpression, kQwen2},
    {"tekken", Cut::kExpression, kTekken},
    {"gpt-4o", Cut::kExpression, kGpt4o},
    {"kanana2", Cut::kExpression, kGpt4o},
};

ordered_json split(const std::string& expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
}

ordered_json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

ordered_json sequence(ordered_json parts) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

}  // namespace

ordered_json gguf_pre_tokenizer(const std::string& name) {
  const auto* known =
      std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) { return k.name == name; });
  if (known == std::end(kKnown)) return nullptr;
  ordered_json parts = ordered_json::array();
  switch (known->cut) {
    case Cut::kGpt2:
      return byte_level(true);
    case Cut::kDigitsAndGpt2:
      parts.push_back({{"type", "Digits"}, {"individual_digits", true}});
      parts.push_back(byte_level(true));
      return sequence(std::move(parts));
    case Cut::kExpression:
      parts.push_back(split(known->expression));
      parts.push_back(byte_level(false));
      return sequence(std::move(parts));
    case Cut::kDeepseekCoder:
      for (const char* expression : {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+"}) {
        parts.push_back(split(expression));
      }
      parts.push_back({{"type", "Digits"}, {"individual_digits", true}});
      parts.push_back(byte_level(false));
      return sequence(std::move(parts));
  }
  return nullptr;
}

std::vector<std::string> known_gguf_pre_tokenizers() {
  std::vector<std::string> names;
  for (const Known& known : kKnown) names.emplace_back(known.name);
  return names;
}

}  // namespace gridquant::formats
