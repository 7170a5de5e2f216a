// UTF-8: where it is broken, one code point at a time, and repaired for people. No Unicode properties here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gridquant::text {

inline constexpr size_t kAllValid = std::string_view::npos;

// Offset of the first byte that does not belong to well-formed UTF-8 (no surrogates, no overlong forms), or kAllValid.
size_t first_invalid_utf8(std::string_view text);

struct CodePoint {
  char32_t value = 0;
  size_t bytes = 0;  // that it takes in UTF-8
};

// The code point that starts at, or ends before, `offset` of well-formed text; there must be one.
CodePoint code_point_at(std::string_view text, size_t offset);
CodePoint code_point_before(std::string_view text, size_t offset);

void append_utf8(std::string& to, char32_t code_point);  // must not be a surrogate

// `bytes` with U+FFFD for each maximal part that is not UTF-8 (what Rust's from_utf8_lossy gives).
std::string with_replacements(std::string bytes);

}  // namespace gridquant::text
