// The "normalizer" of tokenizer.json: none or NFC. Immutable and thread-safe.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/text/json_node.h"

namespace gridquant::text {

class Normalizer {
 public:
  static StatusOr<Normalizer> parse(const JsonNode& node);  // null, NFC, or a Sequence of them

  // The normalized text: `text` itself where nothing changes, otherwise a view into a new element of `buffers`.
  StatusOr<std::string_view> apply(std::string_view text, std::deque<std::string>& buffers) const;

 private:
  bool nfc_ = false;
};

}  // namespace gridquant::text
