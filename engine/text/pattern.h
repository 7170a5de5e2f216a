// Regular expressions as tokenizer.json writes them (Oniguruma, Ruby syntax), run by PCRE2. What the two engines read
// differently is translated or refused, never guessed. Immutable and thread-safe; a MatchScratch belongs to one call.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::text {

// The same pattern for PCRE2. Unimplemented: a construct outside the supported part; says which and where.
StatusOr<std::string> pcre2_from_oniguruma(std::string_view pattern);
// A pattern that matches exactly `text`.
std::string pattern_of_literal(std::string_view text);

class MatchScratch {
 public:
  MatchScratch();
  ~MatchScratch();
  MatchScratch(MatchScratch&&) noexcept;
  MatchScratch& operator=(MatchScratch&&) noexcept;

 private:
  friend class Pattern;
  struct State;
  std::unique_ptr<State> state_;
};

struct Match {
  bool found = false;
  size_t begin = 0;
  size_t end = 0;
};

class Pattern {
 public:
  Pattern();  // of nothing: may only be assigned to
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // `pattern` is PCRE2's, UTF-8. InvalidArgument if it does not compile (says where).
  static StatusOr<Pattern> compile(const std::string& pattern);

  // The first match at or after byte `from` of `text`, which must be UTF-8. ResourceExhausted if the pattern backtracks
  // beyond PCRE2's limits on this text.
  StatusOr<Match> find(std::string_view text, size_t from, MatchScratch& scratch) const;
  // All matches, as Oniguruma's iterator gives them: an empty match right behind the match before it does not count.
  StatusOr<std::vector<Match>> find_all(std::string_view text, MatchScratch& scratch) const;

 private:
  struct State;
  explicit Pattern(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gridquant::text
