// Filters on sequences and mappings.
#include <algorithm>

#include "engine/text/template/filters.h"
#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

StatusOr<Value> length_filter(const Value& value, const Arguments& arguments, Budget&) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  GQ_ASSIGN_OR_RETURN(const int64_t length, length_of(value));
  return Value::of(length);
}

StatusOr<std::vector<Value>> items_of(const Value& value, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(std::vector<Value> items, iterate(value));
  GQ_RETURN_IF_ERROR(budget.spend_items(static_cast<int64_t>(items.size())));
  return items;
}

// For map, select and their like, which take anything false as empty.
StatusOr<std::vector<Value>> items_if_any(const Value& value, Budget& budget) {
  return is_true(value) ? items_of(value, budget) : std::vector<Value>();
}

StatusOr<Value> first_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  if (Sequence* sequence = value.sequence(); sequence != nullptr && sequence->flavor == Sequence::Flavor::kGenerator) {
    if (sequence->used < sequence->items.size()) return sequence->items[sequence->used++];
    return Value::undefined("No first item, sequence was empty.");
  }
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, items_of(value, budget));
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

StatusOr<Value> last_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  if (Sequence* sequence = value.sequence(); sequence != nullptr && sequence->flavor == Sequence::Flavor::kGenerator) {
    return absl::InvalidArgumentError("a generator has no end to begin at");
  }
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, items_of(value, budget));
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

StatusOr<Value> list_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  GQ_ASSIGN_OR_RETURN(std::vector<Value> items, items_of(value, budget));
  return make_sequence(Sequence::Flavor::kList, std::move(items));
}

StatusOr<Value> items_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  std::vector<Value> pairs;
  if (!value.is_undefined()) {
    const Dict* dict = value.dict();
    if (dict == nullptr) return absl::InvalidArgumentError("needs a mapping, not a " + type_of(value));
    GQ_RETURN_IF_ERROR(budget.spend_items(static_cast<int64_t>(dict->items.size())));
    for (const auto& [key, item] : dict->items) {
      GQ_ASSIGN_OR_RETURN(Value pair, make_sequence(Sequence::Flavor::kTuple, {key, item}));
      pairs.push_back(std::move(pair));
    }
  }
  return make_sequence(Sequence::Flavor::kGenerator, std::move(pairs));
}

StatusOr<Value> reverse_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  GQ_ASSIGN_OR_RETURN(std::vector<Value> items, items_of(value, budget));
  std::reverse(items.begin(), items.end());
  if (!value.is_text()) return make_sequence(Sequence::Flavor::kGenerator, std::move(items));
  std::string text;
  for (const Value& item : items) text += item.text();
  return Value::of(std::move(text));
}

StatusOr<Value> map_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(std::vector<Value> items, items_if_any(value, budget));
  Arguments rest = arguments;
  const bool by_attribute = arguments.positional.empty();
  if (!by_attribute) rest.positional.erase(rest.positional.begin());
  GQ_ASSIGN_OR_RETURN(const Bound bound,
                      by_attribute ? Bound::make(arguments, {"attribute", "default"}, 1) : Bound::make({}, {"name"}));
  for (Value& item : items) {
    if (by_attribute) {
      GQ_ASSIGN_OR_RETURN(item, dotted_attribute(item, *bound[0], bound[1]));
    } else if (!arguments.positional[0].is_text()) {
      return absl::InvalidArgumentError("needs a filter's name");
    } else {
      GQ_ASSIGN_OR_RETURN(item, apply_filter(arguments.positional[0].text(), item, rest, budget));
    }
  }
  return make_sequence(Sequence::Flavor::kGenerator, std::move(items));
}

// select and reject, with `by_attribute` selectattr and rejectattr: the items for which a test says `wanted`.
StatusOr<Value> chosen(const Value& value, const Arguments& arguments, Budget& budget, bool wanted, bool by_attribute) {
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, items_if_any(value, budget));
  Arguments rest = arguments;
  Value attribute;
  if (by_attribute) {
    if (rest.positional.empty()) return absl::InvalidArgumentError("needs an attribute's name");
    attribute = rest.positional.front();
    rest.positional.erase(rest.positional.begin());
  }
  std::string test;
  if (!rest.positional.empty()) {
    if (!rest.positional.front().is_text()) return absl::InvalidArgumentError("needs a test's name");
    test = rest.positional.front().text();
    rest.positional.erase(rest.positional.begin());
  }
  std::vector<Value> result;
  for (const Value& item : items) {
    Value tested = item;
    if (by_attribute) {
      GQ_ASSIGN_OR_RETURN(tested, dotted_attribute(item, attribute));
    }
    bool passes = is_true(tested);
    if (!test.empty()) {
      GQ_ASSIGN_OR_RETURN(passes, apply_test(test, tested, rest));
    }
    if (passes == wanted) result.push_back(item);
  }
  return make_sequence(Sequence::Flavor::kGenerator, std::move(result));
}

StatusOr<Value> select_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return chosen(value, arguments, budget, true, false);
}

StatusOr<Value> reject_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return chosen(value, arguments, budget, false, false);
}

StatusOr<Value> selectattr_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return chosen(value, arguments, budget, true, true);
}

StatusOr<Value> rejectattr_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return chosen(value, arguments, budget, false, true);
}

Value folded(const Value& value, bool case_sensitive) {
  return value.is_text() && !case_sensitive ? Value::of(to_case(value.text(), Case::kLower)) : value;
}

// What an item is sorted or compared by.
StatusOr<std::vector<Value>> keys_of(const std::vector<Value>& items, const Value* attribute, bool case_sensitive) {
  std::vector<Value> keys;
  for (const Value& item : items) {
    Value key = item;
    if (attribute != nullptr && !attribute->is_none()) {
      GQ_ASSIGN_OR_RETURN(key, dotted_attribute(item, *attribute));
    }
    keys.push_back(folded(key, case_sensitive));
  }
  return keys;
}

StatusOr<std::vector<Value>> sorted(const std::vector<Value>& items, const std::vector<Value>& keys, bool reverse) {
  for (const Value& key : keys) GQ_RETURN_IF_ERROR(compare(key, keys.front()).status());
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int order_of = compare(keys[a], keys[b]).value_or(0);
    return reverse ? order_of > 0 : order_of < 0;
  });
  std::vector<Value> result;
  for (const size_t i : order) result.push_back(items[i]);
  return result;
}

StatusOr<Value> sort_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"reverse", "case_sensitive", "attribute"}));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, items_of(value, budget));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> keys, keys_of(items, bound[2], bound.truth(1, false)));
  GQ_ASSIGN_OR_RETURN(std::vector<Value> result, sorted(items, keys, bound.truth(0, false)));
  return make_sequence(Sequence::Flavor::kList, std::move(result));
}

StatusOr<Value> dictsort_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"case_sensitive", "by", "reverse"}));
  GQ_ASSIGN_OR_RETURN(const std::string by, bound.text(1, "key"));
  if (by != "key" && by != "value") return absl::InvalidArgumentError("'by' must be key or value");
  GQ_RETURN_IF_ERROR(defined(value));
  if (value.dict() == nullptr) return absl::InvalidArgumentError("needs a mapping, not a " + type_of(value));
  GQ_ASSIGN_OR_RETURN(const Value pairs, items_filter(value, {}, budget));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(pairs));
  const Value place = Value::of(int64_t{by == "value"});
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> keys, keys_of(items, &place, bound.truth(0, false)));
  GQ_ASSIGN_OR_RETURN(std::vector<Value> result, sorted(items, keys, bound.truth(2, false)));
  return make_sequence(Sequence::Flavor::kList, std::move(result));
}

StatusOr<Value> unique_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"case_sensitive", "attribute"}));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, items_of(value, budget));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> keys, keys_of(items, bound[1], bound.truth(0, false)));
  std::vector<Value> seen;
  std::vector<Value> result;
  for (size_t i = 0; i < items.size(); ++i) {
    GQ_RETURN_IF_ERROR(budget.spend_items(static_cast<int64_t>(seen.size())));
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& one) { return equals(one, keys[i]); })) continue;
    seen.push_back(keys[i]);
    result.push_back(items[i]);
  }
  return make_sequence(Sequence::Flavor::kGenerator, std::move(result));
}

StatusOr<Value> extreme(const Value& value, const Arguments& arguments, Budget& budget, int sign) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"case_sensitive", "attribute"}));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, items_of(value, budget));
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> keys, keys_of(items, bound[1], bound.truth(0, false)));
  size_t best = 0;
  for (size_t i = 1; i < keys.size(); ++i) {
    GQ_ASSIGN_OR_RETURN(const int order, compare(keys[i], keys[best]));
    if (order * sign > 0) best = i;
  }
  return items[best];
}

StatusOr<Value> max_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return extreme(value, arguments, budget, 1);
}

StatusOr<Value> min_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  return extreme(value, arguments, budget, -1);
}

StatusOr<Value> sum_filter(const Value& value, const Arguments& arguments, Budget& budget) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"attribute", "start"}));
  GQ_ASSIGN_OR_RETURN(const std::vector<Value> items, items_of(value, budget));
  Value total = bound[1] == nullptr ? Value::of(int64_t{0}) : *bound[1];
  for (const Value& item : items) {
    Value term = item;
    if (bound[0] != nullptr && !bound[0]->is_none()) {
      GQ_ASSIGN_OR_RETURN(term, dotted_attribute(item, *bound[0]));
    }
    GQ_ASSIGN_OR_RETURN(total, binary("+", total, term, budget));
  }
  return total;
}

StatusOr<Value> attr_filter(const Value& value, const Arguments& arguments, Budget&) {
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"name"}, 1));
  GQ_ASSIGN_OR_RETURN(const std::string name, bound.text(0, ""));
  if (value.dict() != nullptr) return Value::undefined("'dict object' has no attribute '" + name + "'");
  return attribute_of(value, name);
}

constexpr std::pair<std::string_view, FilterFn> kSequenceFilters[] = {
    {"attr", attr_filter},         {"count", length_filter},
    {"dictsort", dictsort_filter}, {"first", first_filter},
    {"items", items_filter},       {"last", last_filter},
    {"length", length_filter},     {"list", list_filter},
    {"map", map_filter},           {"max", max_filter},
    {"min", min_filter},           {"reject", reject_filter},
    {"reverse", reverse_filter},   {"rejectattr", rejectattr_filter},
    {"select", select_filter},     {"selectattr", selectattr_filter},
    {"sort", sort_filter},         {"sum", sum_filter},
    {"unique", unique_filter}};

}  // namespace

FilterFn find_sequence_filter(const std::string& name) {
  for (const auto& [key, fn] : kSequenceFilters) {
    if (key == name) return fn;
  }
  return nullptr;
}

}  // namespace gridquant::text::jinja
