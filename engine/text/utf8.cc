// Well-formedness follows table 3-7 of the Unicode standard.
#include "engine/text/utf8.h"

#include <cstdint>
#include <cstring>
#include <utility>

namespace gridquant::text {
namespace {

uint8_t byte_at(std::string_view text, size_t i) {
  return static_cast<uint8_t>(text[i]);
}

// How many bytes at `i` belong together: a whole sequence (valid) or the longest start of one (at least 1).
struct Part {
  size_t bytes = 1;
  bool valid = false;
};

Part part_at(std::string_view text, size_t i) {
  const uint8_t lead = byte_at(text, i);
  if (lead < 0x80) return {1, true};
  size_t length = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  for (size_t n = 1; n < length; ++n) {
    if (i + n >= text.size() || byte_at(text, i + n) < low || byte_at(text, i + n) > high) return {n, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true};
}

}  // namespace

size_t first_invalid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t eight = 0;
    if (i + sizeof eight <= text.size()) {
      std::memcpy(&eight, text.data() + i, sizeof eight);
      if ((eight & 0x8080808080808080ULL) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    const Part part = part_at(text, i);
    if (!part.valid) return i;
    i += part.bytes;
  }
  return kAllValid;
}

CodePoint code_point_at(std::string_view text, size_t offset) {
  const uint8_t lead = byte_at(text, offset);
  const auto tail = [&](size_t n) { return static_cast<char32_t>(byte_at(text, offset + n) & 0x3F); };
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {static_cast<char32_t>((lead & 0x1F) << 6) | tail(1), 2};
  if (lead < 0xF0) return {static_cast<char32_t>((lead & 0x0F) << 12) | tail(1) << 6 | tail(2), 3};
  return {static_cast<char32_t>((lead & 0x07) << 18) | tail(1) << 12 | tail(2) << 6 | tail(3), 4};
}

CodePoint code_point_before(std::string_view text, size_t offset) {
  size_t start = offset - 1;
  while ((byte_at(text, start) & 0xC0) == 0x80) --start;
  return code_point_at(text, start);
}

void append_utf8(std::string& to, char32_t code_point) {
  const auto put = [&](char32_t value) { to.push_back(static_cast<char>(value)); };
  const auto put_tail = [&](int shift) { put(0x80 | ((code_point >> shift) & 0x3F)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put_tail(0);
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put_tail(6);
    put_tail(0);
  } else {
    put(0xF0 | code_point >> 18);
    put_tail(12);
    put_tail(6);
    put_tail(0);
  }
}

std::string with_replacements(std::string bytes) {
  if (first_invalid_utf8(bytes) == kAllValid) return bytes;
  std::string out;
  out.reserve(bytes.size() + 16);
  for (size_t i = 0; i < bytes.size();) {
    const Part part = part_at(bytes, i);
    if (part.valid) {
      out.append(bytes, i, part.bytes);
    } else {
      append_utf8(out, 0xFFFD);
    }
    i += part.bytes;
  }
  return out;
}

}  // namespace gridquant::text
