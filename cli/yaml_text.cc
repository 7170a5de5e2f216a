// See yaml_text.h.
#include "cli/yaml_text.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace gridquant::cli {
namespace {

using nlohmann::ordered_json;

// Letters, digits and a few marks, beginning with a letter or '/', and no word that YAML 1.1 takes for something else.
bool is_plain(std::string_view text) {
  if (text.empty() || (std::isalpha(static_cast<unsigned char>(text[0])) == 0 && text[0] != '/')) return false;
  const bool marks_ok = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == '/';
  });
  if (!marks_ok) return false;
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* word : {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}) {
    if (lower == word) return false;
  }
  return true;
}

// What some readers take for a line's end, or for no character of a text at all: NEL and its like, U+2028, U+2029, BOM.
bool has_odd_characters(std::string_view text) {
  for (size_t at = text.find('\xC2'); at != std::string_view::npos; at = text.find('\xC2', at + 1)) {
    if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xA0) return true;
  }
  return text.find("\xE2\x80\xA8") != std::string_view::npos || text.find("\xE2\x80\xA9") != std::string_view::npos ||
         text.find("\xEF\xBB\xBF") != std::string_view::npos;
}

// Whether `text` can be a literal block: lines of printable characters, the first not indented, a newline at the end
// and only one.
bool is_block(std::string_view text) {
  if (has_odd_characters(text)) return false;
  if (text.size() < 2 || !text.ends_with('\n') || text.ends_with("\n\n") || text[0] == ' ' || text[0] == '\n') {
    return false;
  }
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c == '\n' || (c >= 0x20 && c != 0x7f); });
}

// Double-quoted: JSON's escapes are YAML's. Not ASCII is escaped, so that no reader stumbles over special characters.
std::string quoted(const std::string& text) {
  return ordered_json(text).dump(-1, ' ', /*ensure_ascii=*/true, ordered_json::error_handler_t::replace);
}

std::string scalar(const ordered_json& value) {
  if (!value.is_string()) return value.dump();
  const std::string& text = value.get_ref<const std::string&>();
  return is_plain(text) ? text : quoted(text);
}

bool is_leaf(const ordered_json& value) {
  return !value.is_structured() || value.empty();
}

void write(const ordered_json& value, size_t indent, std::string& out);

// What follows "key:" or "-".
void write_after(const ordered_json& value, size_t indent, bool in_list, std::string& out) {
  if (value.is_string() && is_block(value.get_ref<const std::string&>())) {
    const std::string_view text = value.get_ref<const std::string&>();
    out += " |\n";
    for (size_t start = 0; start < text.size();) {
      const size_t end = text.find('\n', start);
      if (end > start) out += std::string(indent + 2, ' ').append(text.substr(start, end - start));
      out += '\n';
      start = end + 1;
    }
  } else if (is_leaf(value)) {
    out += " " + scalar(value) + "\n";
  } else if (in_list) {  // "- key: value": the first line stands behind the dash
    std::string inner;
    write(value, indent + 2, inner);
    out += " " + inner.substr(indent + 2);
  } else {
    out += "\n";
    write(value, indent + 2, out);
  }
}

void write(const ordered_json& value, size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  if (value.is_array()) {
    for (const ordered_json& element : value) {
      out += margin + "-";
      write_after(element, indent, /*in_list=*/true, out);
    }
    return;
  }
  for (const auto& [key, element] : value.items()) {
    out += margin + (is_plain(key) ? key : quoted(key)) + ":";
    write_after(element, indent, /*in_list=*/false, out);
  }
}

}  // namespace

std::string to_yaml(const ordered_json& value) {
  if (is_leaf(value)) return scalar(value) + "\n";
  std::string out;
  write(value, 0, out);
  return out;
}

}  // namespace gridquant::cli
