// Values: made, compared, gone through. Not here: arithmetic (operators.cc).
#include "engine/text/template/value.h"

#include <algorithm>
#include <cmath>

#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

Status too_deep() {
  return absl::InvalidArgumentError("lists or mappings are nested more than " + std::to_string(kMaxValueDepth) +
                                    " levels deep");
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), equals);
}

bool is_view(Sequence::Flavor flavor) {
  return flavor == Sequence::Flavor::kKeys || flavor == Sequence::Flavor::kItems;
}

bool equal_sequences(const Sequence& a, const Sequence& b) {
  if (&a == &b) return true;
  if (a.flavor == Sequence::Flavor::kGenerator || a.flavor == Sequence::Flavor::kValues) return false;
  if (a.flavor != b.flavor) return false;
  if (!is_view(a.flavor)) return equal_items(a.items, b.items);
  if (a.items.size() != b.items.size()) return false;  // sets, as Python compares them
  return std::all_of(a.items.begin(), a.items.end(), [&](const Value& item) {
    return std::any_of(b.items.begin(), b.items.end(), [&](const Value& other) { return equals(item, other); });
  });
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const Value* other = find(b, item.first);
    return other != nullptr && equals(item.second, *other);
  });
}

int sign(double a, double b) {
  return a < b ? -1 : (a > b ? 1 : 0);
}

}  // namespace

Value Value::undefined(std::string why) {
  return Value(Held(Undefined{std::make_shared<const std::string>(std::move(why))}));
}

Sequence* Value::sequence() const {
  const auto* held = get<std::shared_ptr<Sequence>>();
  return held == nullptr ? nullptr : held->get();
}

const Dict* Value::dict() const {
  const auto* held = get<std::shared_ptr<const Dict>>();
  return held == nullptr ? nullptr : held->get();
}

Namespace* Value::names() const {
  const auto* held = get<std::shared_ptr<Namespace>>();
  return held == nullptr ? nullptr : held->get();
}

double Value::number() const {
  if (const double* d = get<double>()) return *d;
  return static_cast<double>(whole());
}

int depth_of(const Value& value) {
  if (const Sequence* sequence = value.sequence()) return sequence->depth;
  if (const Dict* dict = value.dict()) return dict->depth;
  if (const Method* method = value.get<Method>()) return 1 + depth_of(*method->self);
  return 0;
}

StatusOr<Value> make_sequence(Sequence::Flavor flavor, std::vector<Value> items) {
  auto made = std::make_shared<Sequence>();
  made->flavor = flavor;
  for (const Value& item : items) made->depth = std::max(made->depth, 1 + depth_of(item));
  if (made->depth > kMaxValueDepth) return too_deep();
  made->items = std::move(items);
  return Value(Value::Held(std::move(made)));
}

StatusOr<Value> make_dict(std::vector<std::pair<Value, Value>> items) {
  auto made = std::make_shared<Dict>();
  for (auto& [key, value] : items) {
    if (!is_hashable(key)) return absl::InvalidArgumentError("a " + type_of(key) + " cannot be a mapping's key");
    made->depth = std::max({made->depth, 1 + depth_of(key), 1 + depth_of(value)});
    const auto same = std::find_if(made->items.begin(), made->items.end(),
                                   [&key = key](const auto& item) { return equals(item.first, key); });
    if (same == made->items.end()) {
      made->items.emplace_back(std::move(key), std::move(value));
    } else {
      same->second = std::move(value);
    }
  }
  if (made->depth > kMaxValueDepth) return too_deep();
  return Value(Value::Held(std::shared_ptr<const Dict>(std::move(made))));
}

const Value* find(const Dict& dict, const Value& key) {
  for (const auto& [name, value] : dict.items) {
    if (equals(name, key)) return &value;
  }
  return nullptr;
}

const Value* find(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict.items) {
    if (name.is_text() && name.text() == key) return &value;
  }
  return nullptr;
}

bool is_true(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_number()) return value.number() != 0;
  if (value.is_text()) return !value.text().empty();
  if (const Dict* dict = value.dict()) return !dict->items.empty();
  const Sequence* sequence = value.sequence();
  return sequence == nullptr || sequence->flavor == Sequence::Flavor::kGenerator || !sequence->items.empty();
}

bool equals(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_whole() && b.is_whole() ? a.whole() == b.whole() : a.number() == b.number();
  }
  if (a.is_text() && b.is_text()) return a.text() == b.text();
  if (a.is_undefined() || a.is_none()) return a.is_undefined() ? b.is_undefined() : b.is_none();
  if (a.sequence() != nullptr && b.sequence() != nullptr) return equal_sequences(*a.sequence(), *b.sequence());
  if (a.dict() != nullptr && b.dict() != nullptr) return equal_dicts(*a.dict(), *b.dict());
  if (a.names() != nullptr) return a.names() == b.names();
  if (a.get<std::shared_ptr<Loop>>() != nullptr && b.get<std::shared_ptr<Loop>>() != nullptr) {
    return *a.get<std::shared_ptr<Loop>>() == *b.get<std::shared_ptr<Loop>>();
  }
  if (a.get<Function>() != nullptr && b.get<Function>() != nullptr)
    return a.get<Function>()->name == b.get<Function>()->name;
  return false;
}

bool is_hashable(const Value& value) {
  if (value.dict() != nullptr) return false;
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr) return true;
  if (sequence->flavor == Sequence::Flavor::kRange) return true;
  return sequence->flavor == Sequence::Flavor::kTuple &&
         std::all_of(sequence->items.begin(), sequence->items.end(), is_hashable);
}

std::string type_of(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (value.is_bool()) return "bool";
  if (value.get<int64_t>() != nullptr) return "int";
  if (value.get<double>() != nullptr) return "float";
  if (value.is_text()) return "str";
  if (value.dict() != nullptr) return "dict";
  if (value.names() != nullptr) return "Namespace";
  if (value.get<std::shared_ptr<Loop>>() != nullptr) return "LoopContext";
  if (value.get<std::shared_ptr<const Macro>>() != nullptr) return "Macro";
  if (value.get<Function>() != nullptr) return "function";
  if (value.get<Method>() != nullptr) return "builtin_function_or_method";
  static const char* const kNames[] = {"list", "tuple", "range", "dict_keys", "dict_values", "dict_items", "generator"};
  return kNames[static_cast<size_t>(value.sequence()->flavor)];
}

StatusOr<int> compare(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return a.whole() < b.whole() ? -1 : (a.whole() > b.whole() ? 1 : 0);
    return sign(a.number(), b.number());
  }
  // The order of UTF-8's bytes is the order of code points.
  if (a.is_text() && b.is_text()) return a.text().compare(b.text()) < 0 ? -1 : (a.text() == b.text() ? 0 : 1);
  const Sequence* left = a.sequence();
  const Sequence* right = b.sequence();
  const bool ordered = left != nullptr && right != nullptr && left->flavor == right->flavor &&
                       (left->flavor == Sequence::Flavor::kList || left->flavor == Sequence::Flavor::kTuple);
  if (!ordered) {
    for (const Value* value : {&a, &b}) {
      if (value->is_undefined()) return absl::InvalidArgumentError(*value->get<Undefined>()->why);
    }
    return absl::InvalidArgumentError("a " + type_of(a) + " and a " + type_of(b) + " cannot be ordered");
  }
  for (size_t i = 0; i < std::min(left->items.size(), right->items.size()); ++i) {
    if (!equals(left->items[i], right->items[i])) return compare(left->items[i], right->items[i]);
  }
  return sign(static_cast<double>(left->items.size()), static_cast<double>(right->items.size()));
}

StatusOr<std::vector<Value>> iterate(const Value& value) {
  if (value.is_undefined()) return std::vector<Value>();
  if (value.is_text()) return characters_of(value.text());
  if (const Dict* dict = value.dict()) {
    std::vector<Value> keys;
    keys.reserve(dict->items.size());
    for (const auto& item : dict->items) keys.push_back(item.first);
    return keys;
  }
  if (Sequence* sequence = value.sequence()) {
    if (sequence->flavor != Sequence::Flavor::kGenerator) return sequence->items;
    const size_t first = std::exchange(sequence->used, sequence->items.size());
    return std::vector<Value>(sequence->items.begin() + static_cast<ptrdiff_t>(first), sequence->items.end());
  }
  return absl::InvalidArgumentError("a " + type_of(value) + " has no items to go through");
}

StatusOr<int64_t> length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) return code_points_in(value.text());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->items.size());
  if (const auto* loop = value.get<std::shared_ptr<Loop>>()) return static_cast<int64_t>((*loop)->items.size());
  const Sequence* sequence = value.sequence();
  if (sequence != nullptr && sequence->flavor != Sequence::Flavor::kGenerator) {
    return static_cast<int64_t>(sequence->items.size());
  }
  return absl::InvalidArgumentError("a " + type_of(value) + " has no length");
}

}  // namespace gridquant::text::jinja
