// How deep a JSON text nests, before a value is built from it: nlohmann's values are copied and printed by functions
// that call themselves once per level.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace gridquant::text {

inline constexpr size_t kMaxJsonDepth = 100;

// The byte at which `text` goes deeper than kMaxJsonDepth objects and arrays. Nothing if it does not; it may still be
// no JSON.
std::optional<size_t> too_deep_at(std::string_view text);

}  // namespace gridquant::text
