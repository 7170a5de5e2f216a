// The "pre_tokenizer" of tokenizer.json: text -> words, which are then merged one by one. Supported: ByteLevel (always
// last: the words are bytes), Split, Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit, Metaspace
// and a Sequence of them; none: the whole text is one word. Immutable and thread-safe.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/status.h"
#include "engine/text/json_node.h"
#include "engine/text/pattern.h"

namespace gridquant::text {

class PreTokenizer {
 public:
  using WordSink = absl::FunctionRef<void(std::string_view)>;
  struct Call {
    MatchScratch match;
    std::deque<std::string> buffers;  // text that is not in the input; words may point here
    const char* start = nullptr;      // where the input starts: Metaspace may put a space in front of that word only
  };

  static StatusOr<PreTokenizer> parse(const JsonNode& node);  // null: none

  bool is_byte_level() const { return has_byte_level_; }

  // Hands the words of `text` to `sink`, in order.
  Status run(std::string_view text, Call& call, WordSink sink) const;

 private:
  enum class Behaviour { kIsolated, kRemoved, kContiguous, kMergedWithPrevious, kMergedWithNext };
  enum class PrependScheme { kAlways, kFirst, kNever };
  struct Step {
    Pattern pattern;
    Behaviour behaviour = Behaviour::kIsolated;
    bool invert = false;
    bool (*is_match)(char32_t) = nullptr;  // set: every such character is a match, and there is no pattern
    // Metaspace: spaces become `replacement` (not empty), which may be put in front, and then it splits.
    std::string replacement;
    PrependScheme prepend = PrependScheme::kNever;
    bool splits = true;
  };
  struct Piece {
    size_t begin = 0;
    size_t end = 0;
    bool is_match = false;
  };
  static StatusOr<Step> parse_step(const JsonNode& node, const std::string& type);
  static StatusOr<Step> parse_split(const JsonNode& node);
  static StatusOr<Step> parse_metaspace(const JsonNode& node);
  static StatusOr<PrependScheme> parse_prepend_scheme(const JsonNode& node);
  static StatusOr<Behaviour> parse_behaviour(const JsonNode& node, const std::string& if_absent);
  Status add(const JsonNode& node);
  Status add_byte_level(const JsonNode& node);
  Status run_step(size_t step, std::string_view text, Call& call, WordSink sink) const;
  Status run_isolated(size_t step, std::string_view text, Call& call, WordSink sink) const;
  static std::string_view with_metaspace(const Step& step, std::string_view text, Call& call);
  static std::string_view moved(std::string_view from, std::string to, Call& call);
  static StatusOr<std::vector<Match>> matches_of(const Step& step, std::string_view text, Call& call);
  static StatusOr<std::vector<Piece>> pieces_of(const Step& step, std::string_view text, Call& call);

  std::vector<Step> steps_;
  bool has_byte_level_ = false;
  bool add_prefix_space_ = false;
  size_t prefix_space_before_ = 0;  // the step that ByteLevel's own splitting is
};

}  // namespace gridquant::text
