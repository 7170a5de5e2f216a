// Global functions.
#include "engine/text/template/globals.h"

#include <algorithm>
#include <iterator>

#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

constexpr std::string_view kGlobals[] = {"range", "dict", "namespace", "raise_exception", "strftime_now"};
constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox

constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                   "July",    "August",   "September", "October", "November", "December"};
constexpr const char* kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

bool is_leap(int year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int day_of_year(const Date& date) {
  static constexpr int kBefore[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  return kBefore[date.month - 1] + date.day + (date.month > 2 && is_leap(date.year) ? 1 : 0);
}

int day_of_week(const Date& date) {  // 0: Sunday
  const int before = date.year - 1;
  return (before + before / 4 - before / 100 + before / 400 + day_of_year(date)) % 7;
}

std::string padded(int number, size_t digits, char with) {
  std::string text = std::to_string(number);
  while (text.size() < digits) text.insert(0, 1, with);
  return text;
}

StatusOr<std::string> field_text(char field, const Date& date) {
  switch (field) {
    case 'd':
      return padded(date.day, 2, '0');
    case 'e':
      return padded(date.day, 2, ' ');
    case 'm':
      return padded(date.month, 2, '0');
    case 'Y':
      return std::to_string(date.year);
    case 'y':
      return padded(date.year % 100, 2, '0');
    case 'B':
      return kMonths[date.month - 1];
    case 'b':
      return std::string(kMonths[date.month - 1]).substr(0, 3);
    case 'A':
      return kDays[day_of_week(date)];
    case 'a':
      return std::string(kDays[day_of_week(date)]).substr(0, 3);
    case 'j':
      return padded(day_of_year(date), 3, '0');
    case 'H':
    case 'M':
    case 'S':
      return "00";
    case '%':
      return "%";
    default:
      return absl::UnimplementedError(std::string("the field %") + field + " of a date is not supported");
  }
}

StatusOr<Value> range_of(const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"start", "stop", "step"}, 1));
  GQ_ASSIGN_OR_RETURN(const int64_t given, bound.whole(0, 0));
  GQ_ASSIGN_OR_RETURN(const int64_t stop, bound.whole(1, given));
  GQ_ASSIGN_OR_RETURN(const int64_t step, bound.whole(2, 1));
  const int64_t start = bound[1] == nullptr ? 0 : given;
  if (step == 0) return absl::InvalidArgumentError("the step must not be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) >= kMaxRange) {
      return absl::InvalidArgumentError("has more than " + std::to_string(kMaxRange) + " items");
    }
    items.push_back(Value::of(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  GQ_RETURN_IF_ERROR(budget.spend_items(static_cast<int64_t>(items.size())));
  return make_sequence(Sequence::Flavor::kRange, std::move(items));
}

StatusOr<Value> dict_of(const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1) return absl::InvalidArgumentError("takes at most one mapping");
  if (!arguments.positional.empty()) {
    const Dict* dict = arguments.positional[0].dict();
    if (dict == nullptr) return absl::UnimplementedError("is supported with a mapping and names only");
    items = dict->items;
  }
  for (const auto& [name, value] : arguments.named) items.emplace_back(Value::of(name), value);
  return make_dict(std::move(items));
}

}  // namespace

StatusOr<std::string> format_date(const std::string& format, const Date& date) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    const bool unpadded = i + 1 < format.size() && format[i + 1] == '-';
    i += unpadded ? 2 : 1;
    if (i >= format.size()) return absl::InvalidArgumentError("the date's format ends within a field");
    GQ_ASSIGN_OR_RETURN(std::string text, field_text(format[i], date));
    while (unpadded && text.size() > 1 && text[0] == '0') text.erase(0, 1);
    out += text;
  }
  return out;
}

bool is_global(const std::string& name) {
  return std::find(std::begin(kGlobals), std::end(kGlobals), name) != std::end(kGlobals);
}

StatusOr<Value> call_global(const std::string& name, const Arguments& arguments, const Date& now, Budget& budget) {
  if (name == "raise_exception") {
    GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"message"}, 1));
    return absl::InvalidArgumentError("the template refuses the conversation: " + str_of(*bound[0]));
  }
  StatusOr<Value> result = Value();
  if (name == "range") {
    result = range_of(arguments, budget);
  } else if (name == "dict") {
    result = dict_of(arguments);
  } else {
    GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"format"}, 1));
    GQ_ASSIGN_OR_RETURN(const std::string format, bound.text(0, ""));
    GQ_ASSIGN_OR_RETURN(std::string text, format_date(format, now));
    GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(text.size())));
    result = Value::of(std::move(text));
  }
  return result.ok() ? result : StatusOr<Value>(annotate(result.status(), name));
}

}  // namespace gridquant::text::jinja
