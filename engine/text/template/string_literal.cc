// Escapes of string literals. Not here: where a literal ends (lexer.cc).
#include "engine/text/template/string_literal.h"

#include <cstdint>

#include "engine/text/utf8.h"

namespace gridquant::text::jinja {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
}

// The value of up to `most` digits of `base` at `at`, which moves behind them.
uint32_t read_digits(std::string_view text, size_t& at, size_t most, int base) {
  uint32_t value = 0;
  const size_t end = at + most;
  while (at < text.size() && at < end && digit_value(text[at]) < base) {
    value = value * static_cast<uint32_t>(base) + static_cast<uint32_t>(digit_value(text[at++]));
  }
  return value;
}

StatusOr<uint32_t> read_hex(std::string_view text, size_t& at, size_t count) {
  const size_t begin = at;
  const uint32_t value = read_digits(text, at, count, 16);
  if (at - begin != count) return absl::InvalidArgumentError("an escape in the string is cut off");
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
    return absl::InvalidArgumentError("an escape in the string stands for no character");
  }
  return value;
}

// The character of a one-letter escape, or 0.
char simple_escape(char letter) {
  static constexpr std::string_view kLetters = "\\'\"abfnrtv";
  static constexpr std::string_view kCharacters = "\\'\"\a\b\f\n\r\t\v";
  const size_t at = kLetters.find(letter);
  return at == std::string_view::npos ? '\0' : kCharacters[at];
}

}  // namespace

StatusOr<std::string> string_literal_value(std::string_view written) {
  std::string value;
  for (size_t at = 0; at < written.size();) {
    if (written[at] != '\\') {
      value += written[at++];
      continue;
    }
    if (at + 1 >= written.size()) return absl::InvalidArgumentError("an escape in the string is cut off");
    const char letter = written[at + 1];
    at += 2;
    if (letter == '\n') continue;
    if (letter == 'x' || letter == 'u' || letter == 'U') {
      GQ_ASSIGN_OR_RETURN(const uint32_t c, read_hex(written, at, letter == 'x' ? 2 : (letter == 'u' ? 4 : 8)));
      append_utf8(value, c);
    } else if (letter >= '0' && letter <= '7') {
      --at;
      append_utf8(value, read_digits(written, at, 3, 8));
    } else if (letter == 'N') {
      return absl::InvalidArgumentError("the escape \\N{...} is not supported");
    } else if (simple_escape(letter) != '\0') {
      value += simple_escape(letter);
    } else {
      value += '\\';
      value += letter;
    }
  }
  return value;
}

}  // namespace gridquant::text::jinja
