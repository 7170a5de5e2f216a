// Text as Python sees it: code points, white space, case, and how values are written by str(), repr() and json.dumps.
//
// Case is Unicode's simple mapping: a character whose upper case is several (the German sharp s) stays as it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

int64_t code_points_in(std::string_view text);
std::vector<Value> characters_of(std::string_view text);  // each a text of one code point
std::vector<std::string_view> split_characters(std::string_view text);
size_t byte_of_code_point(std::string_view text, int64_t index);  // text.size() at and after the end

bool is_space(char32_t c);  // str.isspace()
// Without the characters of `strip` at the ends asked for; without `strip`: white space.
std::string_view strip(std::string_view text, std::optional<std::string_view> characters, bool left, bool right);
std::vector<std::string_view> split_lines(std::string_view text);  // str.splitlines()

enum class Case { kUpper, kLower, kTitle };
std::string to_case(std::string_view text, Case to);  // str.upper(), .lower(), .title()
std::string capitalized(std::string_view text);

std::string float_text(double value);    // repr(), which is the shortest text that gives the same number
std::string str_of(const Value& value);  // str(): what {{ }} prints
std::string repr_of(const Value& value);

struct JsonStyle {
  bool ascii = false;  // ensure_ascii
  std::optional<int64_t> indent = {};
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
// json.dumps. InvalidArgument for a value that JSON has nothing for.
StatusOr<std::string> json_text(const Value& value, const JsonStyle& style);

}  // namespace gridquant::text::jinja
