// The alphabet: bytes that print as themselves keep their code point, the other 68 get U+0100 and up, in order.
#include "engine/text/byte_level.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr size_t kAlphabetEnd = 0x144;

constexpr bool prints_as_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<int16_t, kAlphabetEnd> make_alphabet() {
  std::array<int16_t, kAlphabetEnd> byte_of{};
  byte_of.fill(-1);
  size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    byte_of[prints_as_itself(byte) ? static_cast<size_t>(byte) : next++] = static_cast<int16_t>(byte);
  }
  return byte_of;
}

constexpr std::array<int16_t, kAlphabetEnd> kByteOf = make_alphabet();

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> bytes_of_byte_level(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (size_t i = 0; i < token.size();) {
    const CodePoint character = code_point_at(token, i);
    if (character.value >= kAlphabetEnd || kByteOf[character.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kByteOf[character.value]));
    i += character.bytes;
  }
  return bytes;
}

std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  const int high = hex_value(token[3]);
  const int low = hex_value(token[4]);
  if (high < 0 || low < 0) {
    // Rust reads a number with a sign too.
    return token[3] == '+' && low >= 0 ? std::optional(static_cast<char>(low)) : std::nullopt;
  }
  return static_cast<char>(high * 16 + low);
}

}  // namespace gridquant::text
