#include "coordinator/spec/source.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace gridquant::spec {
namespace {

// Length of the well-formed UTF-8 sequence at `offset`, 0 if there is none (RFC 3629: no surrogates, no overlong
// forms).
size_t sequence_length(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) -> unsigned {
    return offset + i < text.size() ? static_cast<unsigned char>(text[offset + i]) : 0;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

uint32_t code_point(std::string_view text, size_t offset, size_t length) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[offset + i])); };
  if (length == 2) return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
  if (length == 3) return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  if (length == 4) {
    return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
  return byte(0);
}

bool is_wide(uint32_t code) {
  return (code >= 0x1100 && code <= 0x115F) || (code >= 0x2E80 && code <= 0xA4CF) ||
         (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
         (code >= 0xFE30 && code <= 0xFE6F) || (code >= 0xFF00 && code <= 0xFF60) ||
         (code >= 0xFFE0 && code <= 0xFFE6) || (code >= 0x1F300 && code <= 0x1F64F) ||
         (code >= 0x20000 && code <= 0x3FFFD);
}

bool is_combining(uint32_t code) {
  return (code >= 0x300 && code <= 0x36F) || code == 0x200D || code == 0xFE0F;
}

}  // namespace

SourceText::SourceText(std::string_view text) : text_(text), starts_{0} {
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) {
    starts_.push_back(at + 1);
  }
}

std::string_view SourceText::line(int number) const {
  if (number < 1 || number > line_count()) return {};
  const size_t begin = starts_[number - 1];
  const size_t end = number < line_count() ? starts_[number] - 1 : text_.size();
  std::string_view line = text_.substr(begin, end - begin);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

size_t SourceText::offset_of(int line, size_t byte_column) const {
  if (line < 1) return 0;
  if (line > line_count()) return text_.size();
  return std::min(starts_[line - 1] + byte_column, text_.size());
}

Position SourceText::position_of(size_t offset, size_t byte_length) const {
  offset = std::min(offset, text_.size());
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), offset);
  const int line = static_cast<int>(after - starts_.begin());
  if (line != last_line_ || offset < last_offset_) {
    last_line_ = line;
    last_offset_ = starts_[line - 1];
    last_column_ = 1;
  }
  last_column_ += count_characters(text_.substr(last_offset_, offset - last_offset_));
  last_offset_ = offset;
  const size_t newline = line < line_count() ? starts_[line] - 1 : text_.size();
  const size_t end = std::min(offset + byte_length, std::max(newline, offset));
  return {line, last_column_, std::max(1, count_characters(text_.substr(offset, end - offset)))};
}

std::optional<size_t> first_invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

std::optional<size_t> first_control_character(std::string_view text) {
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F) return at;
  }
  return std::nullopt;
}

int count_characters(std::string_view utf8) {
  return static_cast<int>(std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

size_t next_character(std::string_view utf8, size_t offset) {
  do {
    ++offset;
  } while (offset < utf8.size() && (utf8[offset] & 0xC0) == 0x80);
  return std::min(offset, utf8.size());
}

int display_width(std::string_view utf8) {
  int width = 0;
  for (size_t at = 0; at < utf8.size();) {
    const size_t length = std::max<size_t>(1, sequence_length(utf8, at));
    const uint32_t code = code_point(utf8, at, length);
    width += is_combining(code) ? 0 : is_wide(code) ? 2 : 1;
    at += length;
  }
  return width;
}

std::string shorten(std::string_view utf8, int max_characters) {
  std::string result;
  int characters = 0;
  for (size_t at = 0; at < utf8.size(); ++characters) {
    if (characters == max_characters) return result + "...";
    const size_t next = next_character(utf8, at);
    const bool printable = next - at > 1 || static_cast<unsigned char>(utf8[at]) >= 0x20;
    result += printable ? std::string(utf8.substr(at, next - at)) : " ";
    at = next;
  }
  return result;
}

}  // namespace gridquant::spec
