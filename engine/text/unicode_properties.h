// The character properties a pattern may name, as Oniguruma (Unicode 16) understands them, written for PCRE2.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace gridquant::text {

struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;
};

struct UnicodeProperty {
  std::string_view name;                  // in \p{...}; "w" is the word character \w
  std::string_view members;               // PCRE2, to be put inside [...]
  std::span<const CodePointRange> added;  // members that PCRE2 10.42 (Unicode 14) does not know yet
};

const UnicodeProperty* find_unicode_property(std::string_view name);  // null: not supported

// Rust's \w (Unicode 16), which the library asks where it uses no Oniguruma.
const UnicodeProperty& rust_word_property();

// The members of the property, to be put inside a PCRE2 character class.
std::string class_members_of(const UnicodeProperty& property);

}  // namespace gridquant::text
