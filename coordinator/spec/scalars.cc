#include "coordinator/spec/scalars.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "coordinator/spec/source.h"
#include "stages/catalog/size.h"

namespace gridquant::spec {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

size_t skip_digits(std::string_view text, size_t at) {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

// -?(0|[1-9][0-9]*): the length of it at the start of `text`, 0 if it does not start so.
size_t integer_prefix(std::string_view text) {
  const size_t begin = text.starts_with('-') ? 1 : 0;
  const size_t end = skip_digits(text, begin);
  if (end == begin || (text[begin] == '0' && end > begin + 1)) return 0;
  return end;
}

bool is_number_text(std::string_view text) {
  size_t at = integer_prefix(text);
  if (at == 0) return false;
  if (at < text.size() && text[at] == '.') {
    const size_t end = skip_digits(text, at + 1);
    if (end == at + 1) return false;
    at = end;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    size_t begin = at + 1;
    if (begin < text.size() && (text[begin] == '+' || text[begin] == '-')) ++begin;
    const size_t end = skip_digits(text, begin);
    if (end == begin) return false;
    at = end;
  }
  return at == text.size();
}

struct Unit {
  std::string_view name;
  int64_t factor;
};

// Longer names first where one begins another.
constexpr std::array kDurationUnits = {Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"ms", 1}, Unit{"m", 60'000},
                                       Unit{"s", 1'000}};
constexpr int64_t kMaxDurationMs = 10'000LL * 86'400'000;

std::optional<int64_t> whole_number(std::string_view digits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<int64_t> read_int(std::string_view text) {
  if (text.empty() || integer_prefix(text) != text.size()) return std::nullopt;
  return whole_number(text);
}

std::optional<double> read_number(std::string_view text) {
  if (!is_number_text(text)) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<bool> read_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

nlohmann::json read_scalar(std::string_view text, bool quoted) {
  if (!quoted) {
    if (const auto value = read_int(text)) return *value;
    if (const auto value = read_number(text)) return *value;
    if (const auto value = read_bool(text)) return *value;
  }
  return std::string(text);
}

std::optional<int64_t> read_duration(std::string_view text) {
  int64_t total = 0;
  int64_t smallest = std::numeric_limits<int64_t>::max();
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const size_t digits = skip_digits(text, 0);
    const auto count = whole_number(text.substr(0, digits));
    if (!count) return std::nullopt;
    text.remove_prefix(digits);
    const Unit* unit = nullptr;
    for (const Unit& candidate : kDurationUnits) {
      if (unit == nullptr && text.starts_with(candidate.name)) unit = &candidate;
    }
    if (unit == nullptr || unit->factor >= smallest || *count > kMaxDurationMs / unit->factor) return std::nullopt;
    smallest = unit->factor;
    total += *count * unit->factor;
    text.remove_prefix(unit->name.size());
  }
  if (total > kMaxDurationMs) return std::nullopt;
  return total;
}

std::optional<int64_t> read_size(std::string_view text) {
  return stages::read_size(text);
}

bool is_dns_label(std::string_view text) {
  if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
  for (const char c : text) {
    if (!is_lower(c) && !is_digit(c) && c != '-') return false;
  }
  return true;
}

bool is_identifier(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  const auto is_letter = [](char c) { return is_lower(static_cast<char>(c | 0x20)) || c == '_'; };
  if (!is_letter(text[0])) return false;
  for (const char c : text) {
    if (!is_letter(c) && !is_digit(c) && c != '-') return false;
  }
  return true;
}

std::string describe_value(const nlohmann::json& value) {
  if (value.is_string()) return "the text '" + shorten(value.get_ref<const std::string&>(), 40) + "'";
  if (value.is_number()) return "the number " + value.dump();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_array()) return "a list";
  if (value.is_object()) return "a map";
  return "nothing";
}

std::string render_value(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "";
  return value.dump();
}

}  // namespace gridquant::spec
