// Every step cuts the pieces that the step before it left; an empty piece is dropped. Patterns see one piece at a
// time, so that look-ahead stops where a piece does.
#include "engine/text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "engine/text/utf8.h"

namespace gridquant::text {

Status PreTokenizer::run(std::string_view text, Call& call, WordSink sink) const {
  return run_step(0, text, call, sink);
}

Status PreTokenizer::run_step(size_t step, std::string_view text, Call& call, WordSink sink) const {
  if (text.empty()) return absl::OkStatus();
  if (add_prefix_space_ && step == prefix_space_before_ && text.front() != ' ') {
    text = moved(text, " " + std::string(text), call);
  }
  if (step == steps_.size()) {
    sink(text);
    return absl::OkStatus();
  }
  if (!steps_[step].replacement.empty()) {
    text = with_metaspace(steps_[step], text, call);
    if (!steps_[step].splits) return run_step(step + 1, text, call, sink);
  }
  // Whether a piece is a match plays no part in isolating it, so neither does `invert`.
  if (steps_[step].behaviour == Behaviour::kIsolated && steps_[step].is_match == nullptr) {
    return run_isolated(step, text, call, sink);
  }
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

std::string_view PreTokenizer::moved(std::string_view from, std::string to, Call& call) {
  const std::string_view text = call.buffers.emplace_back(std::move(to));
  if (from.data() == call.start) call.start = text.data();
  return text;
}

std::string_view PreTokenizer::with_metaspace(const Step& step, std::string_view text, Call& call) {
  const bool may_prepend =
      step.prepend == PrependScheme::kAlways || (step.prepend == PrependScheme::kFirst && text.data() == call.start);
  std::string to;
  to.reserve(text.size() + text.size() / 2);
  if (may_prepend && text.front() != ' ' && !text.starts_with(step.replacement)) to = step.replacement;
  for (const char byte : text) {
    if (byte == ' ') {
      to += step.replacement;
    } else {
      to.push_back(byte);
    }
  }
  return moved(text, std::move(to), call);
}

StatusOr<std::vector<Match>> PreTokenizer::matches_of(const Step& step, std::string_view text, Call& call) {
  if (step.is_match == nullptr) return step.pattern.find_all(text, call.match);
  std::vector<Match> matches;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (step.is_match(c.value)) matches.push_back({true, i, i + c.bytes});
    i += c.bytes;
  }
  return matches;
}

// The library's rules, including what they make of neighbouring matches.
StatusOr<std::vector<PreTokenizer::Piece>> PreTokenizer::pieces_of(const Step& step, std::string_view text,
                                                                   Call& call) {
  GQ_ASSIGN_OR_RETURN(const std::vector<Match> matches, matches_of(step, text, call));
  std::vector<Piece> all;
  size_t done = 0;
  for (const Match& match : matches) {
    if (match.begin != done) all.push_back({done, match.begin, step.invert});
    all.push_back({match.begin, match.end, !step.invert});
    done = match.end;
  }
  if (done != text.size()) all.push_back({done, text.size(), step.invert});
  if (step.behaviour == Behaviour::kIsolated) return all;
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
