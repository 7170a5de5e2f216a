// Every step cuts the pieces that the step before it left; an empty piece is dropped. Patterns see one piece at a
// time, so that look-ahead stops where a piece does.
#include "engine/text/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr size_t kMaxSteps = 32;  // run_step calls itself once for each
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

StatusOr<Pattern> compile(const JsonNode& node, const std::string& oniguruma) {
  const StatusOr<std::string> translated = pcre2_from_oniguruma(oniguruma);
  if (!translated.ok()) {
    const std::string why(translated.status().message());
    return absl::IsUnimplemented(translated.status()) ? node.unimplemented(why) : node.invalid(why);
  }
  StatusOr<Pattern> pattern = Pattern::compile(*translated);
  if (!pattern.ok()) return node.invalid(std::string(pattern.status().message()));
  return pattern;
}

}  // namespace

StatusOr<PreTokenizer> PreTokenizer::parse(const JsonNode& node) {
  PreTokenizer pre_tokenizer;
  if (node.is_null()) return node.unimplemented("a tokenizer without a ByteLevel pre_tokenizer is not supported");
  GQ_RETURN_IF_ERROR(pre_tokenizer.add(node));
  if (!pre_tokenizer.has_byte_level_) {
    return node.unimplemented("a tokenizer without a ByteLevel pre_tokenizer is not supported");
  }
  return pre_tokenizer;
}

Status PreTokenizer::add(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (has_byte_level_) return node.unimplemented("a pre_tokenizer after ByteLevel is not supported");
  if (steps_.size() >= kMaxSteps) return node.unimplemented("more than 32 pre_tokenizers are not supported");
  if (type == "Sequence") {
    GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array_at("pretokenizers"));
    for (const JsonNode& part : parts) GQ_RETURN_IF_ERROR(add(part));
    return absl::OkStatus();
  }
  if (type == "ByteLevel") return add_byte_level(node);
  if (type != "Split" && type != "Digits") return node.unsupported("pre_tokenizer", type);
  GQ_ASSIGN_OR_RETURN(Step step, type == "Split" ? parse_split(node) : parse_digits(node));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

Status PreTokenizer::add_byte_level(const JsonNode& node) {
  has_byte_level_ = true;
  GQ_ASSIGN_OR_RETURN(add_prefix_space_, node.bool_at("add_prefix_space", true));
  GQ_ASSIGN_OR_RETURN(const bool use_regex, node.bool_at("use_regex", true));
  prefix_space_before_ = steps_.size();
  if (!use_regex) return absl::OkStatus();
  GQ_ASSIGN_OR_RETURN(Pattern pattern, compile(node, kGpt2Pattern));
  steps_.push_back(Step{std::move(pattern), Behaviour::kIsolated, false});
  return absl::OkStatus();
}

StatusOr<PreTokenizer::Step> PreTokenizer::parse_split(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const JsonNode pattern_node, node.child("pattern"));
  if (!pattern_node.value().is_object()) return pattern_node.malformed("an object");
  const bool literal = pattern_node.value().contains("String");
  GQ_ASSIGN_OR_RETURN(const std::string text, pattern_node.string_at(literal ? "String" : "Regex"));
  GQ_ASSIGN_OR_RETURN(const JsonNode compile_at, pattern_node.child(literal ? "String" : "Regex"));
  StatusOr<Pattern> pattern = literal ? Pattern::compile(pattern_of_literal(text)) : compile(compile_at, text);
  if (!pattern.ok()) return pattern.status();
  GQ_ASSIGN_OR_RETURN(const std::string name, node.string_at("behavior"));
  static constexpr std::pair<const char*, Behaviour> kBehaviours[] = {
      {"Isolated", Behaviour::kIsolated},
      {"Removed", Behaviour::kRemoved},
      {"Contiguous", Behaviour::kContiguous},
      {"MergedWithPrevious", Behaviour::kMergedWithPrevious},
      {"MergedWithNext", Behaviour::kMergedWithNext}};
  const auto* const found = std::find_if(std::begin(kBehaviours), std::end(kBehaviours),
                                         [&](const auto& entry) { return entry.first == name; });
  if (found == std::end(kBehaviours)) return node.invalid("unknown behavior \"" + name + "\"");
  GQ_ASSIGN_OR_RETURN(const bool invert, node.bool_at("invert", false));
  return Step{std::move(pattern).value(), found->second, invert};
}

StatusOr<PreTokenizer::Step> PreTokenizer::parse_digits(const JsonNode& node) {
  GQ_ASSIGN_OR_RETURN(const bool individual, node.bool_at("individual_digits", false));
  GQ_ASSIGN_OR_RETURN(Pattern pattern, compile(node, R"(\p{N})"));
  return Step{std::move(pattern), individual ? Behaviour::kIsolated : Behaviour::kContiguous, false};
}

Status PreTokenizer::run(std::string_view text, Call& call, WordSink sink) const {
  return run_step(0, text, call, sink);
}

Status PreTokenizer::run_step(size_t step, std::string_view text, Call& call, WordSink sink) const {
  if (text.empty()) return absl::OkStatus();
  if (add_prefix_space_ && step == prefix_space_before_ && text.front() != ' ') {
    text = call.buffers.emplace_back(" " + std::string(text));
  }
  if (step == steps_.size()) {
    sink(text);
    return absl::OkStatus();
  }
  // Whether a piece is a match plays no part in isolating it, so neither does `invert`.
  if (steps_[step].behaviour == Behaviour::kIsolated) return run_isolated(step, text, call, sink);
  GQ_ASSIGN_OR_RETURN(const std::vector<Piece> pieces, pieces_of(steps_[step], text, call));
  for (const Piece& piece : pieces) {
    GQ_RETURN_IF_ERROR(run_step(step + 1, text.substr(piece.begin, piece.end - piece.begin), call, sink));
  }
  return absl::OkStatus();
}

// The way nearly all text goes: no list of pieces is made.
Status PreTokenizer::run_isolated(size_t step, std::string_view text, Call& call, WordSink sink) const {
  size_t done = 0;
  size_t from = 0;
  while (from <= text.size()) {
    const StatusOr<Match> match = steps_[step].pattern.find(text, from, call.match);
    if (!match.ok()) return match.status();
    if (!match->found) break;
    GQ_RETURN_IF_ERROR(run_step(step + 1, text.substr(done, match->begin - done), call, sink));
    GQ_RETURN_IF_ERROR(run_step(step + 1, text.substr(match->begin, match->end - match->begin), call, sink));
    done = match->end;
    from = match->end;
    // An empty match cuts too; look for the next one character further.
    if (match->begin == match->end) from += from < text.size() ? code_point_at(text, from).bytes : 1;
  }
  return run_step(step + 1, text.substr(done), call, sink);
}

// The library's rules, including what they make of empty matches and of neighbouring matches.
StatusOr<std::vector<PreTokenizer::Piece>> PreTokenizer::pieces_of(const Step& step, std::string_view text,
                                                                   Call& call) {
  std::vector<Piece> all;
  size_t done = 0;
  size_t from = 0;
  bool may_be_empty = true;  // an empty match right behind the match before it does not count
  while (from <= text.size()) {
    GQ_ASSIGN_OR_RETURN(const Match match, step.pattern.find(text, from, call.match));
    if (!match.found) break;
    if (match.begin == match.end && !may_be_empty && match.end == done) {
      from += from < text.size() ? code_point_at(text, from).bytes : 1;
      continue;
    }
    if (match.begin != done) all.push_back({done, match.begin, step.invert});
    all.push_back({match.begin, match.end, !step.invert});
    done = match.end;
    from = match.end;
    may_be_empty = false;
  }
  if (done != text.size()) all.push_back({done, text.size(), step.invert});
  if (step.behaviour == Behaviour::kRemoved) {
    std::erase_if(all, [](const Piece& piece) { return piece.is_match; });
    return all;
  }
  const bool backwards = step.behaviour == Behaviour::kMergedWithNext;
  if (backwards) std::reverse(all.begin(), all.end());
  std::vector<Piece> merged;
  bool previous_match = false;
  for (const Piece& piece : all) {
    const bool joins =
        step.behaviour == Behaviour::kContiguous ? piece.is_match == previous_match : piece.is_match && !previous_match;
    previous_match = piece.is_match;
    if (!joins || merged.empty()) {
      merged.push_back(piece);
    } else if (backwards) {
      merged.back().begin = piece.begin;
    } else {
      merged.back().end = piece.end;
    }
  }
  if (backwards) std::reverse(merged.begin(), merged.end());
  return merged;
}

}  // namespace gridquant::text
