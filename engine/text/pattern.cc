// The only file that calls PCRE2.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/text/pattern.h"

#include <pcre2.h>

#include <array>
#include <cstdint>
#include <utility>

#include "engine/text/utf8.h"

namespace gridquant::text {

struct FreePcre2 {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

namespace {

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR code_units_of(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

struct MatchScratch::State {
  std::unique_ptr<pcre2_match_data, FreePcre2> data;
};

struct Pattern::State {
  std::unique_ptr<pcre2_code, FreePcre2> code;
  bool jit = false;
};

// Room for group 0 only: no caller asks for the others.
MatchScratch::MatchScratch() : state_(std::make_unique<State>()) {
  state_->data.reset(pcre2_match_data_create(1, nullptr));  // null: find() reports it
}
MatchScratch::~MatchScratch() = default;
MatchScratch::MatchScratch(MatchScratch&&) noexcept = default;
MatchScratch& MatchScratch::operator=(MatchScratch&&) noexcept = default;

Pattern::Pattern(std::unique_ptr<State> state) : state_(std::move(state)) {}
Pattern::Pattern() = default;
Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

StatusOr<Pattern> Pattern::compile(const std::string& pattern) {
  std::unique_ptr<pcre2_compile_context, FreePcre2> context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) return absl::ResourceExhaustedError("no memory for a regular expression");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);  // whatever this PCRE2 was built with
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto state = std::make_unique<State>();
  state->code.reset(pcre2_compile(code_units_of(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                                  &error, &offset, context.get()));
  if (state->code == nullptr) {
    return absl::InvalidArgumentError("regular expression '" + pattern + "': " + message_of(error) + " at byte " +
                                      std::to_string(offset));
  }
  // Without just-in-time code (a hardened kernel) the interpreter gives the same matches.
  state->jit = pcre2_jit_compile(state->code.get(), PCRE2_JIT_COMPLETE) == 0;
  return Pattern(std::move(state));
}

StatusOr<Match> Pattern::find(std::string_view text, size_t from, MatchScratch& scratch) const {
  pcre2_match_data* data = scratch.state_->data.get();
  const pcre2_code* code = state_->code.get();
  if (data == nullptr) return absl::ResourceExhaustedError("no memory for matching a regular expression");
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (state_->jit) result = pcre2_jit_match(code, code_units_of(text), text.size(), from, 0, data, nullptr);
  // Compiled code has a small stack; the interpreter takes from the heap.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result =
        pcre2_match(code, code_units_of(text), text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, nullptr);
  }
  if (result == PCRE2_ERROR_NOMATCH) return Match{};
  if (result < 0) {
    return absl::ResourceExhaustedError("regular expression gave up at byte " + std::to_string(from) + ": " +
                                        message_of(result));
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data);
  return Match{true, offsets[0], offsets[1]};
}

StatusOr<std::vector<Match>> Pattern::find_all(std::string_view text, MatchScratch& scratch) const {
  std::vector<Match> all;
  size_t from = 0;
  while (from <= text.size()) {
    GQ_ASSIGN_OR_RETURN(const Match match, find(text, from, scratch));
    if (!match.found) break;
    if (match.begin == match.end && !all.empty() && match.end == all.back().end) {
      from += from < text.size() ? code_point_at(text, from).bytes : 1;
      continue;
    }
    all.push_back(match);
    from = match.end;
  }
  return all;
}

}  // namespace gridquant::text
