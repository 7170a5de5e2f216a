// Hash maps keyed by text, looked up by view. (Debian's absl::string_view is not std::string_view, so absl's own
// transparent hash does not take one.)
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"

namespace gridquant::text {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

template <typename Key, typename Value>
using TextMap = absl::flat_hash_map<Key, Value, TextHash, std::equal_to<>>;

}  // namespace gridquant::text
