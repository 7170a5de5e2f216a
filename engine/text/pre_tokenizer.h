// The "pre_tokenizer" of tokenizer.json: text -> words, which are then merged one by one. Supported: ByteLevel (always
// last: the words are bytes), Split, Digits and a Sequence of them. Immutable and thread-safe.
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
  };

  static StatusOr<PreTokenizer> parse(const JsonNode& node);

  // Hands the words of `text` to `sink`, in order.
  Status run(std::string_view text, Call& call, WordSink sink) const;

 private:
  enum class Behaviour { kIsolated, kRemoved, kContiguous, kMergedWithPrevious, kMergedWithNext };
  struct Step {
    Pattern pattern;
    Behaviour behaviour = Behaviour::kIsolated;
    bool invert = false;
  };
  struct Piece {
    size_t begin = 0;
    size_t end = 0;
    bool is_match = false;
  };
  static StatusOr<Step> parse_split(const JsonNode& node);
  static StatusOr<Step> parse_digits(const JsonNode& node);
  Status add(const JsonNode& node);
  Status add_byte_level(const JsonNode& node);
  Status run_step(size_t step, std::string_view text, Call& call, WordSink sink) const;
  Status run_isolated(size_t step, std::string_view text, Call& call, WordSink sink) const;
  static StatusOr<std::vector<Piece>> pieces_of(const Step& step, std::string_view text, Call& call);

  std::vector<Step> steps_;
  bool has_byte_level_ = false;
  bool add_prefix_space_ = false;
  size_t prefix_space_before_ = 0;  // the step that ByteLevel's own splitting is
};

}  // namespace gridquant::text
