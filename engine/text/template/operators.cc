// Arithmetic, comparison, membership. Not here: attributes, items, slices (lookup.cc).
#include "engine/text/template/operators.h"

#include <cmath>

#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

Status unsupported(const std::string& op, const Value& a, const Value& b) {
  GQ_RETURN_IF_ERROR(defined(a));
  GQ_RETURN_IF_ERROR(defined(b));
  return absl::InvalidArgumentError("'" + op + "' does not work on a " + type_of(a) + " and a " + type_of(b));
}

Status too_large() {
  return absl::InvalidArgumentError("a whole number has more than 64 bits, which is not supported");
}

bool is_list_like(const Value& value, Sequence::Flavor flavor) {
  return value.sequence() != nullptr && value.sequence()->flavor == flavor;
}

StatusOr<Value> joined(const Value& a, const Value& b, Budget& budget) {
  const Sequence& left = *a.sequence();
  std::vector<Value> items = left.items;
  items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
  GQ_RETURN_IF_ERROR(budget.spend_items(static_cast<int64_t>(items.size())));
  return make_sequence(left.flavor, std::move(items));
}

StatusOr<Value> repeated(const Value& value, int64_t count, Budget& budget) {
  if (count < 0) count = 0;
  const int64_t size = value.is_text() ? static_cast<int64_t>(value.text().size())
                                       : static_cast<int64_t>(value.sequence()->items.size());
  int64_t total = 0;
  if (__builtin_mul_overflow(size, count, &total)) return too_large();
  GQ_RETURN_IF_ERROR(value.is_text() ? budget.spend_text(total) : budget.spend_items(total));
  if (value.is_text()) {
    std::string text;
    text.reserve(static_cast<size_t>(total));
    for (int64_t i = 0; i < count && size > 0; ++i) text += value.text();
    return Value::of(std::move(text));
  }
  std::vector<Value> items;
  for (int64_t i = 0; i < count && size > 0; ++i) {
    items.insert(items.end(), value.sequence()->items.begin(), value.sequence()->items.end());
  }
  return make_sequence(value.sequence()->flavor, std::move(items));
}

StatusOr<int64_t> power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (base == 0 || base == 1 || (base == -1 && exponent % 2 == 0)) return base == 0 ? 0 : 1;
    if (base == -1) return -1;
    if (__builtin_mul_overflow(result, base, &result)) return too_large();
  }
  return result;
}

StatusOr<Value> whole_arithmetic(const std::string& op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(a, b, &result);
  if (op == "-") overflow = __builtin_sub_overflow(a, b, &result);
  if (op == "*") overflow = __builtin_mul_overflow(a, b, &result);
  if (op == "//" || op == "%") {
    if (b == 0) return absl::InvalidArgumentError("division by zero");
    if (b == -1) return whole_arithmetic("*", op == "%" ? 0 : a, -1);
    const int64_t rest = a % b;
    const bool adjust = rest != 0 && (rest < 0) != (b < 0);
    result = op == "%" ? rest + (adjust ? b : 0) : a / b - (adjust ? 1 : 0);
  }
  if (op == "**") {
    GQ_ASSIGN_OR_RETURN(result, power(a, b));
  }
  if (overflow) return too_large();
  return Value::of(result);
}

StatusOr<Value> float_arithmetic(const std::string& op, double a, double b) {
  if (op == "+") return Value::of(a + b);
  if (op == "-") return Value::of(a - b);
  if (op == "*") return Value::of(a * b);
  if (op == "**") {
    const double result = std::pow(a, b);
    if (!std::isfinite(result) || (a == 0 && b < 0)) return absl::InvalidArgumentError("the power is no finite number");
    return Value::of(result);
  }
  if (b == 0) return absl::InvalidArgumentError("division by zero");
  if (op == "/") return Value::of(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (op == "%") return Value::of(rest == 0 ? std::copysign(0.0, b) : rest);
  return Value::of(std::round((a - rest) / b));
}

}  // namespace

Status defined(const Value& value) {
  const Undefined* undefined = value.get<Undefined>();
  if (undefined == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(undefined->why == nullptr ? "a value is undefined" : *undefined->why);
}

StatusOr<Value> binary(const std::string& op, const Value& a, const Value& b, Budget& budget) {
  if (a.is_number() && b.is_number()) {
    const bool fractional = op == "/" || (op == "**" && b.is_whole() && b.whole() < 0);
    if (a.is_whole() && b.is_whole() && !fractional) return whole_arithmetic(op, a.whole(), b.whole());
    return float_arithmetic(op, a.number(), b.number());
  }
  if (op == "+" && a.is_text() && b.is_text()) {
    GQ_RETURN_IF_ERROR(budget.spend_text(static_cast<int64_t>(a.text().size() + b.text().size())));
    return Value::of(a.text() + b.text());
  }
  for (const Sequence::Flavor flavor : {Sequence::Flavor::kList, Sequence::Flavor::kTuple}) {
    if (op == "+" && is_list_like(a, flavor) && is_list_like(b, flavor)) return joined(a, b, budget);
    if (op == "*" && is_list_like(a, flavor) && b.is_whole()) return repeated(a, b.whole(), budget);
    if (op == "*" && a.is_whole() && is_list_like(b, flavor)) return repeated(b, a.whole(), budget);
  }
  if (op == "*" && a.is_text() && b.is_whole()) return repeated(a, b.whole(), budget);
  if (op == "*" && a.is_whole() && b.is_text()) return repeated(b, a.whole(), budget);
  if (op == "%" && a.is_text()) {
    return absl::UnimplementedError("formatting with % is not supported in templates");
  }
  return unsupported(op, a, b);
}

StatusOr<Value> negative(const Value& value) {
  GQ_RETURN_IF_ERROR(defined(value));
  if (const double* d = value.get<double>()) return Value::of(-*d);
  if (!value.is_whole()) return absl::InvalidArgumentError("a " + type_of(value) + " has no negative");
  return whole_arithmetic("-", 0, value.whole());
}

StatusOr<bool> contains(const Value& container, const Value& item) {
  if (container.is_text()) {
    GQ_RETURN_IF_ERROR(defined(item));
    if (!item.is_text()) {
      return absl::InvalidArgumentError("'in' a str needs a str on its left, not a " + type_of(item));
    }
    return container.text().find(item.text()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    if (!is_hashable(item)) return absl::InvalidArgumentError("a " + type_of(item) + " cannot be a mapping's key");
    return find(*dict, item) != nullptr;
  }
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(container));
  for (const Value& one : items) {
    if (equals(one, item)) return true;
  }
  return false;
}

StatusOr<bool> compare_by(const std::string& op, const Value& a, const Value& b) {
  if (op == "==") return equals(a, b);
  if (op == "!=") return !equals(a, b);
  if (op == "in" || op == "not in") {
    GQ_ASSIGN_OR_RETURN(const bool found, contains(b, a));
    return found == (op == "in");
  }
  if (a.is_number() && b.is_number() && (std::isnan(a.number()) || std::isnan(b.number()))) return false;
  GQ_ASSIGN_OR_RETURN(const int order, compare(a, b));
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  return op == ">" ? order > 0 : order >= 0;
}

}  // namespace gridquant::text::jinja
