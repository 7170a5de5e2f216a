// Jinja's tests ("is defined", "is divisibleby 3").
#include <algorithm>

#include "engine/text/template/filters.h"
#include "engine/text/template/methods.h"
#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

// Tests that compare with their argument, by the operator that they stand for; "" if it is none.
std::string operator_of(const std::string& name) {
  static constexpr std::pair<std::string_view, std::string_view> kOperators[] = {
      {"eq", "=="},      {"equalto", "=="}, {"==", "=="}, {"ne", "!="}, {"!=", "!="}, {"lt", "<"},
      {"lessthan", "<"}, {"<", "<"},        {"le", "<="}, {"<=", "<="}, {"gt", ">"},  {"greaterthan", ">"},
      {">", ">"},        {"ge", ">="},      {">=", ">="}, {"in", "in"}};
  for (const auto& [key, op] : kOperators) {
    if (key == name) return std::string(op);
  }
  return "";
}

bool is_callable(const Value& value) {
  return value.is_undefined() || value.get<std::shared_ptr<const Macro>>() != nullptr ||
         value.get<Function>() != nullptr || value.get<Method>() != nullptr;
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_text() || value.dict() != nullptr || value.sequence() != nullptr ||
         value.get<std::shared_ptr<Loop>>() != nullptr;
}

bool is_indexed(const Value& value) {
  if (const Sequence* sequence = value.sequence()) return sequence->flavor <= Sequence::Flavor::kRange;
  return value.is_undefined() || value.is_text() || value.dict() != nullptr;
}

// Python's `is`.
bool is_same(const Value& a, const Value& b) {
  if (a.is_bool() || b.is_bool()) return a.is_bool() && b.is_bool() && a.whole() == b.whole();
  if (a.sequence() != nullptr) return a.sequence() == b.sequence();
  if (a.dict() != nullptr) return a.dict() == b.dict();
  return type_of(a) == type_of(b) && equals(a, b);
}

StatusOr<bool> text_case(const Value& value, Case to) {
  const std::string text = str_of(value);
  return to_case(text, to) == text && to_case(text, to == Case::kUpper ? Case::kLower : Case::kUpper) != text;
}

StatusOr<bool> number_test(const std::string& name, const Value& value, const Arguments& arguments) {
  GQ_RETURN_IF_ERROR(defined(value));
  if (!value.is_whole()) return absl::InvalidArgumentError("needs an int, not a " + type_of(value));
  if (name != "divisibleby") return (value.whole() % 2 != 0) == (name == "odd");
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"num"}, 1));
  GQ_ASSIGN_OR_RETURN(const int64_t by, bound.whole(0, 0));
  if (by == 0) return absl::InvalidArgumentError("division by zero");
  return by == -1 || value.whole() % by == 0;
}

using PlainTest = bool (*)(const Value&);
constexpr std::pair<std::string_view, PlainTest> kPlain[] = {
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"boolean", [](const Value& v) { return v.is_bool(); }},
    {"true", [](const Value& v) { return v.is_bool() && v.whole() != 0; }},
    {"false", [](const Value& v) { return v.is_bool() && v.whole() == 0; }},
    {"integer", [](const Value& v) { return v.get<int64_t>() != nullptr; }},
    {"float", [](const Value& v) { return v.get<double>() != nullptr; }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"string", [](const Value& v) { return v.is_text(); }},
    {"mapping", [](const Value& v) { return v.dict() != nullptr; }},
    {"iterable", is_iterable},
    {"sequence", is_indexed},
    {"callable", is_callable},
    {"escaped", [](const Value&) { return false; }},
};

StatusOr<bool> run_test(const std::string& name, const Value& value, const Arguments& arguments) {
  for (const auto& [key, test] : kPlain) {
    if (key != name) continue;
    GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
    return test(value);
  }
  if (name == "odd" || name == "even" || name == "divisibleby") return number_test(name, value, arguments);
  if (name == "upper" || name == "lower") return text_case(value, name == "upper" ? Case::kUpper : Case::kLower);
  const std::string op = operator_of(name);
  if (op.empty() && name != "sameas") {
    return absl::InvalidArgumentError("there is no such test");
  }
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"other"}, 1));
  return name == "sameas" ? is_same(value, *bound[0]) : compare_by(op, value, *bound[0]);
}

}  // namespace

StatusOr<bool> apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  StatusOr<bool> result = run_test(name, value, arguments);
  return result.ok() ? result : StatusOr<bool>(annotate(result.status(), "test " + name));
}

}  // namespace gridquant::text::jinja
