// Filters by name, and those that are about values of any type.
#include "engine/text/template/filters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

constexpr std::string_view kUnsupported[] = {
    "batch",  "e",     "escape",    "filesizeformat", "forceescape", "format", "groupby",  "pprint",
    "random", "slice", "striptags", "truncate",       "urlencode",   "urlize", "wordwrap", "xmlattr"};

StatusOr<Value> default_filter(const Value& value, const Arguments& arguments, Budget&) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"default_value", "boolean"}));
  const bool replace = value.is_undefined() || (bound.truth(1, false) && !is_true(value));
  if (!replace) return value;
  return bound[0] == nullptr ? Value::of(std::string()) : *bound[0];
}

StatusOr<Value> tojson_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii = bound.truth(0, false);
  if (bound[1] != nullptr && !bound[1]->is_none()) {
    GQ_ASSIGN_OR_RETURN(const int64_t indent, bound.whole(1, 0));
    if (indent < 0 || indent > 64) return absl::InvalidArgumentError("'indent' must be between 0 and 64");
    style.indent = indent;
    style.item_separator = ",";
  }
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    GQ_ASSIGN_OR_RETURN(const std::vector<Value> pair, iterate(*bound[2]));
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text()) {
      return absl::InvalidArgumentError("'separators' must be two texts");
    }
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  style.sort_keys = bound.truth(3, false);
  StatusOr<std::string> text = json_text(value, style);
  if (!text.ok()) return text.status();
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text->size())));
  return Value::of(*std::move(text));
}

std::string plain_number_text(const std::string& text) {
  std::string out(strip(text, std::nullopt, true, true));
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  if (out.size() > 1 && out[0] == '+') out.erase(0, 1);
  return out;
}

std::optional<double> float_of(const Value& value) {
  if (value.is_number()) return value.number();
  if (!value.is_text()) return std::nullopt;
  const std::string text = plain_number_text(value.text());
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

StatusOr<Value> int_filter(const Value& value, const Arguments& arguments, Budget&) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"default", "base"}));
  GQ_ASSIGN_OR_RETURN(const int64_t base, bound.whole(1, 10));
  if (base != 10) return absl::UnimplementedError("only base 10 is supported");
  GQ_RETURN_IF_ERROR(defined(value));
  if (value.is_whole()) return Value::of(value.whole());
  if (value.is_text()) {
    const std::string text = plain_number_text(value.text());
    int64_t whole = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), whole);
    if (!text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) return Value::of(whole);
  }
  const std::optional<double> number = float_of(value);
  if (number.has_value() && std::isfinite(*number)) {
    if (std::abs(*number) >= 9.2e18) return absl::InvalidArgumentError("the number has more than 64 bits");
    return Value::of(static_cast<int64_t>(*number));
  }
  return bound[0] == nullptr ? Value::of(int64_t{0}) : *bound[0];
}

StatusOr<Value> float_filter(const Value& value, const Arguments& arguments, Budget&) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"default"}));
  GQ_RETURN_IF_ERROR(defined(value));
  const std::optional<double> number = float_of(value);
  if (number.has_value()) return Value::of(*number);
  return bound[0] == nullptr ? Value::of(0.0) : *bound[0];
}

StatusOr<Value> abs_filter(const Value& value, const Arguments& arguments, Budget&) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  GQ_RETURN_IF_ERROR(defined(value));
  if (!value.is_number()) return absl::InvalidArgumentError("needs a number, not a " + type_of(value));
  if (value.is_whole() && value.whole() >= 0) return Value::of(value.whole());
  return value.is_whole() ? negative(value) : StatusOr<Value>(Value::of(std::abs(value.number())));
}

// Ties go to the even neighbour. What is rounded is the decimal expansion of the binary number, as Python does it.
StatusOr<Value> round_filter(const Value& value, const Arguments& arguments, Budget&) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"precision", "method"}));
  GQ_ASSIGN_OR_RETURN(const int64_t precision, bound.whole(0, 0));
  GQ_ASSIGN_OR_RETURN(const std::string method, bound.text(1, "common"));
  GQ_RETURN_IF_ERROR(defined(value));
  if (!value.is_number()) return absl::InvalidArgumentError("needs a number, not a " + type_of(value));
  if (precision < 0 || precision > 15) return absl::UnimplementedError("only 0 to 15 digits are supported");
  if (method == "common") {
    if (value.is_whole()) return Value::of(value.whole());
    if (!std::isfinite(value.number())) return value;
    std::array<char, 400> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.number(),
                                   std::chars_format::fixed, static_cast<int>(precision))
                         .ptr;
    double rounded = 0;
    std::from_chars(buffer.data(), end, rounded);
    return Value::of(rounded);
  }
  if (method != "ceil" && method != "floor") {
    return absl::InvalidArgumentError("the method must be common, ceil or floor");
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.number() * scale;
  return Value::of((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

StatusOr<Value> string_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  std::string text = str_of(value);
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size())));
  return Value::of(std::move(text));
}

StatusOr<Value> safe_filter(const Value&, const Arguments&, Budget&) {
  return absl::UnimplementedError("texts that are marked as safe HTML are not supported");
}

constexpr std::pair<std::string_view, FilterFn> kFilters[] = {
    {"abs", abs_filter},     {"d", default_filter},     {"default", default_filter},
    {"float", float_filter}, {"int", int_filter},       {"round", round_filter},
    {"safe", safe_filter},   {"string", string_filter}, {"tojson", tojson_filter}};

FilterFn find_filter(const std::string& name) {
  for (const auto& [key, fn] : kFilters) {
    if (key == name) return fn;
  }
  if (const FilterFn fn = find_text_filter(name)) return fn;
  return find_sequence_filter(name);
}

}  // namespace

StatusOr<Value> dotted_attribute(const Value& item, const Value& path, const Value* otherwise) {
  const auto step = [&](const Value& from, const Value& name) -> StatusOr<Value> {
    GQ_ASSIGN_OR_RETURN(Value found, item_of(from, name));
    return found.is_undefined() && otherwise != nullptr && !otherwise->is_none() ? *otherwise : found;
  };
  if (path.is_whole()) return step(item, path);
  if (!path.is_text()) return absl::InvalidArgumentError("an attribute's name must be a text");
  Value value = item;
  std::string_view rest = path.text();
  while (true) {
    const size_t dot = rest.find('.');
    const std::string part(rest.substr(0, dot));
    int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index =
        !part.empty() && part[0] != '-' && parsed.ec == std::errc() && parsed.ptr == part.data() + part.size();
    GQ_ASSIGN_OR_RETURN(value, step(value, is_index ? Value::of(index) : Value::of(part)));
    if (dot == std::string_view::npos) return value;
    rest.remove_prefix(dot + 1);
  }
}

StatusOr<Value> apply_filter(const std::string& name, const Value& value, const Arguments& arguments, Budget& budget) {
  const FilterFn fn = find_filter(name);
  if (fn == nullptr) {
    const bool known = std::find(std::begin(kUnsupported), std::end(kUnsupported), name) != std::end(kUnsupported);
    if (known) return absl::UnimplementedError("the filter '" + name + "' is not supported");
    return absl::InvalidArgumentError("there is no filter called '" + name + "'");
  }
  GQ_RETURN_IF_ERROR(budget.spend(1));
  StatusOr<Value> result = fn(value, arguments, budget);
  return result.ok() ? result : StatusOr<Value>(annotate(result.status(), "filter " + name));
}

}  // namespace gridquant::text::jinja
