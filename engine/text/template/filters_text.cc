// Filters that give texts.
#include <algorithm>

#include "engine/text/template/filters.h"
#include "engine/text/template/methods.h"
#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"
#include "engine/text/utf8.h"

namespace gridquant::text::jinja {
namespace {

StatusOr<Value> trim_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"chars"}));
  GQ_ASSIGN_OR_RETURN(const std::optional<std::string> characters, bound.optional_text(0));
  const std::string text = str_of(value);
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size())));
  const std::optional<std::string_view> view = characters;
  return Value::of(std::string(strip(text, view, true, true)));
}

template <typename Fn>
StatusOr<Value> plain(const Value& value, const Arguments& arguments, Budget& budget, Fn&& fn) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  const std::string text = str_of(value);
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size())));
  return Value::of(fn(text));
}

StatusOr<Value> upper_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return plain(value, arguments, budget, [](const std::string& t) { return to_case(t, Case::kUpper); });
}

StatusOr<Value> lower_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return plain(value, arguments, budget, [](const std::string& t) { return to_case(t, Case::kLower); });
}

StatusOr<Value> capitalize_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return plain(value, arguments, budget, [](const std::string& t) { return capitalized(t); });
}

// Unlike str.title(), words begin only after white space, hyphens and brackets.
StatusOr<Value> title_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return plain(value, arguments, budget, [](const std::string& text) {
    std::string out;
    bool starts = true;
    for (const std::string_view character : split_characters(text)) {
      const char32_t c = code_point_at(character, 0).value;
      const bool separates =
          is_space(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) != std::string_view::npos);
      out += to_case(character, starts && !separates ? Case::kUpper : Case::kLower);
      starts = separates;
    }
    return out;
  });
}

StatusOr<Value> replace_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"old", "new", "count"}, 2));
  int64_t count = -1;
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    GQ_ASSIGN_OR_RETURN(count, bound.whole(2, -1));
  }
  GQ_ASSIGN_OR_RETURN(std::string text, replaced(str_of(value), str_of(*bound[0]), str_of(*bound[1]), count, budget));
  return Value::of(std::move(text));
}

StatusOr<Value> indent_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"width", "first", "blank"}));
  GQ_RETURN_IF_ERROR(defined(value));
  if (!value.is_text()) return absl::InvalidArgumentError("needs a str, not a " + type_of(value));
  std::string indention;
  if (bound[0] != nullptr && bound[0]->is_text()) {
    indention = bound[0]->text();
  } else {
    GQ_ASSIGN_OR_RETURN(const int64_t width, bound.whole(0, 4));
    if (width > 10'000) return absl::InvalidArgumentError("a width above 10000 is not supported");
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const std::string text = value.text() + "\n";  // the quirk of the original: the last line end is dropped again
  const std::vector<std::string_view> lines = split_lines(text);
  const auto bytes = static_cast<int64_t>(text.size() + lines.size() * (indention.size() + 1));
  GQ_RETURN_IF_ERROR(budget.spend_text(bytes));
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += "\n";
    const bool indents = i == 0 ? bound.truth(1, false) : bound.truth(2, false) || !lines[i].empty();
    if (indents) out += indention;
    out += lines[i];
  }
  return Value::of(std::move(out));
}

StatusOr<Value> center_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"width"}));
  GQ_ASSIGN_OR_RETURN(const int64_t width, bound.whole(0, 80));
  const std::string text = str_of(value);
  const int64_t missing = std::max<int64_t>(width - code_points_in(text), 0);
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size()) + missing));
  const int64_t left = missing / 2 + (missing & width & 1);
  return Value::of(std::string(static_cast<size_t>(left), ' ') + text +
                   std::string(static_cast<size_t>(missing - left), ' '));
}

StatusOr<Value> join_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"d", "attribute"}));
  const std::string separator = bound[0] == nullptr ? "" : str_of(*bound[0]);
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(value));
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (bound[1] != nullptr && !bound[1]->is_none()) {
      GQ_ASSIGN_OR_RETURN(item, dotted_attribute(item, *bound[1]));
    }
    const std::string text = str_of(item);
    GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(out.size() + separator.size() + text.size())));
    if (i > 0) out += separator;
    out += text;
  }
  return Value::of(std::move(out));
}

StatusOr<Value> wordcount_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  const std::string text = str_of(value);
  GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size())));
  int64_t words = 0;
  bool inside = false;
  for (const std::string_view character : split_characters(text)) {
    const bool space = is_space(code_point_at(character, 0).value);
    const bool punctuation =
        character.size() == 1 && character[0] != '_' &&
        std::string_view("!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~").find(character) != std::string_view::npos;
    words += !inside && !space && !punctuation;
    inside = !space && !punctuation;
  }
  return Value::of(words);
}

constexpr std::pair<std::string_view, FilterFn> kTextFilters[] = {
    {"capitalize", capitalize_filter}, {"center", center_filter},      {"indent", indent_filter}, {"join", join_filter},
    {"lower", lower_filter},           {"replace", replace_filter},    {"title", title_filter},   {"trim", trim_filter},
    {"upper", upper_filter},           {"wordcount", wordcount_filter}};

}  // namespace

FilterFn find_text_filter(const std::string& name) {
  for (const auto& [key, fn] : kTextFilters) {
    if (key == name) return fn;
  }
  return nullptr;
}

}  // namespace gridquant::text::jinja
