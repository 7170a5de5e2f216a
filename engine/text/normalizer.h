// The "normalizer" of tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Prepend, Replace and a
// Sequence of them. It sees the text between added tokens, each part by itself. Immutable and thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/json_node.h"
#include "engine/text/normal_forms.h"
#include "engine/text/pattern.h"

namespace gridquant::text {

class Normalizer {
 public:
  static StatusOr<Normalizer> parse(const JsonNode& node);  // null: changes nothing

  // For tokenizers that come from elsewhere than tokenizer.json.
  void add_prepend(std::string text);                  // in front of every text that is not empty
  void add_replace(std::string from, std::string to);  // literally; `from` is not empty
  void add_replace(Pattern from, std::string to);

  // The normalized text: `text` (UTF-8) itself where nothing changes, otherwise a view into a new element of `buffers`.
  StatusOr<std::string_view> apply(std::string_view text, std::deque<std::string>& buffers) const;

 private:
  enum class Kind { kForm, kLowercase, kStrip, kStripAccents, kPrepend, kReplace, kReplacePattern };
  struct Step {
    Kind kind = Kind::kForm;
    NormalForm form = NormalForm::kNfc;
    bool left = false;   // kStrip
    bool right = false;  // kStrip
    std::string from;    // kReplace
    std::string to;      // kReplace, kReplacePattern, kPrepend
    std::shared_ptr<const Pattern> pattern;
  };
  Status add(const JsonNode& node);
  Status add_step(const JsonNode& node, const std::string& type);
  Status add_strip(const JsonNode& node);
  Status add_replace_of(const JsonNode& node);
  static StatusOr<std::string_view> run(const Step& step, std::string_view text, std::deque<std::string>& buffers);
  static StatusOr<std::string_view> replace_pattern(const Step& step, std::string_view text,
                                                    std::deque<std::string>& buffers);

  std::vector<Step> steps_;
};

}  // namespace gridquant::text
