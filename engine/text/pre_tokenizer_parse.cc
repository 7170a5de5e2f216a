// Reading the "pre_tokenizer" of tokenizer.json. Running it: pre_tokenizer.cc.
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/text/character_classes.h"
#include "engine/text/pattern_node.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/unicode_properties.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr size_t kMaxPreTokenizers = 32;  // run_step calls itself once for each
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Rust's char::is_numeric: numbers of Unicode 17 too.
constexpr const char* kNumber = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";

}  // namespace

StatusOr<PreTokenizer> PreTokenizer::parse(const JsonNode& node) {
  PreTokenizer pre_tokenizer;
  if (!node.is_null()) GQ_RETURN_IF_ERROR(pre_tokenizer.add(node));
  return pre_tokenizer;
}

Status PreTokenizer::add(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (has_byte_level_) return node.unimplemented("a pre_tokenizer after ByteLevel is not supported");
  if (steps_.size() >= kMaxPreTokenizers) return node.unimplemented("more than 32 pre_tokenizers are not supported");
  if (type == "Sequence") {
    GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array_at("pretokenizers"));
    for (const JsonNode& part : parts) GQ_RETURN_IF_ERROR(add(part));
    return absl::OkStatus();
  }
  if (type == "ByteLevel") return add_byte_level(node);
  GQ_ASSIGN_OR_RETURN(Step step, parse_step(node, type));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

Status PreTokenizer::add_byte_level(const JsonNode& node) {
  has_byte_level_ = true;
  GQ_ASSIGN_OR_RETURN(add_prefix_space_, node.bool_at("add_prefix_space", true));
  GQ_ASSIGN_OR_RETURN(const bool use_regex, node.bool_at("use_regex", true));
  prefix_space_before_ = steps_.size();
  if (!use_regex) return absl::OkStatus();
  Step step;
  GQ_ASSIGN_OR_RETURN(step.pattern, compile_oniguruma(node, kGpt2Pattern));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

StatusOr<PreTokenizer::Step> PreTokenizer::parse_step(const JsonNode& node, const std::string& type) {
  if (type == "Split") return parse_split(node);
  if (type == "Metaspace") return parse_metaspace(node);
  Step step;
  if (type == "Digits") {
    GQ_ASSIGN_OR_RETURN(const bool individual, node.bool_at("individual_digits", false));
    GQ_ASSIGN_OR_RETURN(step.pattern, compile_oniguruma(node, kNumber));
    step.behaviour = individual ? Behaviour::kIsolated : Behaviour::kContiguous;
  } else if (type == "Punctuation") {
    step.is_match = is_punctuation;
    GQ_ASSIGN_OR_RETURN(step.behaviour, parse_behaviour(node, "Isolated"));
  } else if (type == "WhitespaceSplit") {
    step.is_match = is_white_space;
    step.behaviour = Behaviour::kRemoved;
  } else if (type == "Whitespace") {
    const std::string word = class_members_of(rust_word_property());
    GQ_ASSIGN_OR_RETURN(step.pattern, Pattern::compile("[" + word + "]+|[^" + word + R"(\p{White_Space}]+)"));
    step.behaviour = Behaviour::kRemoved;
    step.invert = true;
  } else if (type == "CharDelimiterSplit") {
    GQ_ASSIGN_OR_RETURN(const std::string delimiter, node.string_at("delimiter"));
    if (delimiter.empty()) return node.invalid("an empty delimiter");
    GQ_ASSIGN_OR_RETURN(step.pattern, Pattern::compile(pattern_of_literal(delimiter)));
    step.behaviour = Behaviour::kRemoved;
  } else {
    return node.unsupported("pre_tokenizer", type);
  }
  return step;
}

StatusOr<PreTokenizer::Step> PreTokenizer::parse_split(const JsonNode& node) {
  Step step;
  GQ_ASSIGN_OR_RETURN(const JsonNode pattern, node.child("pattern"));
  GQ_ASSIGN_OR_RETURN(step.pattern, compile_pattern(pattern));
  GQ_ASSIGN_OR_RETURN(step.behaviour, parse_behaviour(node, ""));
  GQ_ASSIGN_OR_RETURN(step.invert, node.bool_at("invert", false));
  return step;
}

StatusOr<PreTokenizer::Behaviour> PreTokenizer::parse_behaviour(const JsonNode& node, const std::string& if_absent) {
  static constexpr std::pair<const char*, Behaviour> kBehaviours[] = {
      {"Isolated", Behaviour::kIsolated},
      {"Removed", Behaviour::kRemoved},
      {"Contiguous", Behaviour::kContiguous},
      {"MergedWithPrevious", Behaviour::kMergedWithPrevious},
      {"MergedWithNext", Behaviour::kMergedWithNext}};
  GQ_ASSIGN_OR_RETURN(const JsonNode behaviour, node.child("behavior"));
  std::string name = if_absent;
  if (!behaviour.is_null() || if_absent.empty()) {
    GQ_ASSIGN_OR_RETURN(name, node.string_at("behavior"));
  }
  const auto* const found = std::find_if(std::begin(kBehaviours), std::end(kBehaviours),
                                         [&](const auto& entry) { return entry.first == name; });
  if (found == std::end(kBehaviours)) return node.invalid("unknown behavior \"" + name + "\"");
  return found->second;
}

StatusOr<PreTokenizer::Step> PreTokenizer::parse_metaspace(const JsonNode& node) {
  Step step;
  GQ_ASSIGN_OR_RETURN(step.replacement, node.string_at("replacement"));
  if (step.replacement.empty() || code_point_at(step.replacement, 0).bytes != step.replacement.size()) {
    return node.invalid("the replacement must be one character");
  }
  GQ_ASSIGN_OR_RETURN(step.prepend, parse_prepend_scheme(node));
  GQ_ASSIGN_OR_RETURN(step.splits, node.bool_at("split", true));
  GQ_ASSIGN_OR_RETURN(step.pattern, Pattern::compile(pattern_of_literal(step.replacement)));
  step.behaviour = Behaviour::kMergedWithNext;
  return step;
}

// Old files say add_prefix_space instead.
StatusOr<PreTokenizer::PrependScheme> PreTokenizer::parse_prepend_scheme(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const bool add_prefix_space, node.bool_at("add_prefix_space", true));
  GQ_ASSIGN_OR_RETURN(const JsonNode scheme, node.child("prepend_scheme"));
  if (scheme.is_null()) return add_prefix_space ? PrependScheme::kAlways : PrependScheme::kNever;
  GQ_ASSIGN_OR_RETURN(const std::string name, node.string_at("prepend_scheme"));
  if (name == "never") return PrependScheme::kNever;
  if (name == "first" && !add_prefix_space) return node.invalid("add_prefix_space contradicts prepend_scheme");
  if (name == "first") return PrependScheme::kFirst;
  if (name == "always") return add_prefix_space ? PrependScheme::kAlways : PrependScheme::kNever;
  return scheme.invalid("unknown prepend_scheme \"" + name + "\"");
}

}  // namespace gridquant::text
