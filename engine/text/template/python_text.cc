// Python's view of text. Not here: str's methods (methods.cc) and json.dumps (json_text.cc).
#include "engine/text/template/python_text.h"

#include <utf8proc.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "engine/text/utf8.h"

namespace gridquant::text::jinja {
namespace {

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_cased(char32_t c) {
  const auto code = static_cast<utf8proc_int32_t>(c);
  return utf8proc_toupper(code) != code || utf8proc_tolower(code) != code ||
         utf8proc_category(code) == UTF8PROC_CATEGORY_LT;
}

// str.isprintable() of one character.
bool is_printable(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

void append_escape(std::string& to, char32_t c) {
  static const char* const kHex = "0123456789abcdef";
  const int digits = c > 0xFFFF ? 8 : (c > 0xFF ? 4 : 2);
  to += digits == 8 ? "\\U" : (digits == 4 ? "\\u" : "\\x");
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) to += kHex[c >> shift & 0xF];
}

std::string repr_of_text(const std::string& text) {
  const bool double_quotes = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (const std::string_view character : split_characters(text)) {
    const char32_t c = code_point_at(character, 0).value;
    if (c == static_cast<char32_t>(quote) || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += character;
    } else {
      append_escape(out, c);
    }
  }
  return out + quote;
}

std::string repr_of_items(const std::vector<Value>& items) {
  std::string out;
  for (const Value& item : items) out += (out.empty() ? "" : ", ") + repr_of(item);
  return out;
}

std::string repr_of_sequence(const Sequence& sequence) {
  const std::string items = repr_of_items(sequence.items);
  switch (sequence.flavor) {
    case Sequence::Flavor::kTuple:
      return "(" + items + (sequence.items.size() == 1 ? ",)" : ")");
    case Sequence::Flavor::kKeys:
      return "dict_keys([" + items + "])";
    case Sequence::Flavor::kValues:
      return "dict_values([" + items + "])";
    case Sequence::Flavor::kItems:
      return "dict_items([" + items + "])";
    case Sequence::Flavor::kGenerator:
      return "<generator object>";
    default:
      return "[" + items + "]";
  }
}

}  // namespace

int64_t code_points_in(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::vector<std::string_view> split_characters(std::string_view text) {
  std::vector<std::string_view> characters;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = code_point_at(text, at).bytes;
    characters.push_back(text.substr(at, bytes));
    at += bytes;
  }
  return characters;
}

std::vector<Value> characters_of(std::string_view text) {
  std::vector<Value> values;
  for (const std::string_view character : split_characters(text)) values.push_back(Value::of(std::string(character)));
  return values;
}

size_t byte_of_code_point(std::string_view text, int64_t index) {
  size_t at = 0;
  while (at < text.size()) {
    const bool starts = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (starts && index-- == 0) return at;
    ++at;
  }
  return text.size();
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> characters, bool left, bool right) {
  const auto goes = [&](const CodePoint& c, size_t at) {
    if (!characters.has_value()) return is_space(c.value);
    // A whole character is found only at a character's start: UTF-8 has no character inside another.
    return characters->find(text.substr(at, c.bytes)) != std::string_view::npos;
  };
  while (left && !text.empty()) {
    const CodePoint c = code_point_at(text, 0);
    if (!goes(c, 0)) break;
    text.remove_prefix(c.bytes);
  }
  while (right && !text.empty()) {
    const CodePoint c = code_point_before(text, text.size());
    if (!goes(c, text.size() - c.bytes)) break;
    text.remove_suffix(c.bytes);
  }
  return text;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    const size_t end = at;
    at += c.bytes;
    if (!is_line_end(c.value)) continue;
    if (c.value == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, end - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string to_case(std::string_view text, Case to) {
  std::string out;
  bool inside_word = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    at += c.bytes;
    const auto code = static_cast<utf8proc_int32_t>(c.value);
    utf8proc_int32_t changed = code;
    if (to == Case::kUpper) changed = utf8proc_toupper(code);
    if (to == Case::kLower || (to == Case::kTitle && inside_word)) changed = utf8proc_tolower(code);
    if (to == Case::kTitle && !inside_word) changed = utf8proc_totitle(code);
    inside_word = is_cased(c.value);
    append_utf8(out, static_cast<char32_t>(changed));
  }
  return out;
}

std::string capitalized(std::string_view text) {
  if (text.empty()) return "";
  const size_t first = code_point_at(text, 0).bytes;
  return to_case(text.substr(0, first), Case::kTitle) + to_case(text.substr(first), Case::kLower);
}

// The digits are std::to_chars' shortest ones; where the point goes is Python's rule (exponent below -4 or from 16 on).
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer.data(), static_cast<size_t>(end - buffer.data()));
  const size_t e = scientific.find('e');
  int exponent = 0;
  std::string_view power = scientific.substr(e + 1);
  if (power.front() == '+') power.remove_prefix(1);
  std::from_chars(power.data(), power.data() + power.size(), exponent);
  if (exponent < -4 || exponent >= 16) {
    return std::string(scientific);  // at least two digits of exponent, as in Python
  }
  std::array<char, 400> fixed;
  const auto stop = std::to_chars(fixed.data(), fixed.data() + fixed.size(), value, std::chars_format::fixed).ptr;
  std::string text(fixed.data(), static_cast<size_t>(stop - fixed.data()));
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string repr_of(const Value& value) {
  if (value.is_text()) return repr_of_text(value.text());
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (value.is_bool()) return value.whole() != 0 ? "True" : "False";
  if (value.is_whole()) return std::to_string(value.whole());
  if (const double* d = value.get<double>()) return float_text(*d);
  if (const Sequence* sequence = value.sequence()) return repr_of_sequence(*sequence);
  if (const Dict* dict = value.dict()) {
    std::string out;
    for (const auto& [key, item] : dict->items) {
      out += (out.empty() ? "" : ", ") + repr_of(key) + ": " + repr_of(item);
    }
    return "{" + out + "}";
  }
  return "<" + type_of(value) + ">";
}

std::string str_of(const Value& value) {
  if (value.is_text()) return value.text();
  return value.is_undefined() ? "" : repr_of(value);
}

}  // namespace gridquant::text::jinja
