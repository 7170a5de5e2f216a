// Attributes, items and slices. Not here: what methods do (methods.cc).
#include <algorithm>

#include "engine/text/template/methods.h"
#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"

namespace gridquant::text::jinja {
namespace {

std::string object_name(const Value& value) {
  return value.is_none() ? "None" : type_of(value) + " object";
}

Value no_attribute(const Value& value, const std::string& name) {
  return Value::undefined("'" + object_name(value) + "' has no attribute '" + name + "'");
}

Value no_element(const Value& value, const Value& index) {
  return Value::undefined(object_name(value) + " has no element " + repr_of(index));
}

// A loop's attribute, or undefined.
Value loop_attribute(const Loop& loop, const Value& self, const std::string& name) {
  const auto index = static_cast<int64_t>(loop.index);
  const auto length = static_cast<int64_t>(loop.items.size());
  if (name == "index") return Value::of(index + 1);
  if (name == "index0") return Value::of(index);
  if (name == "revindex") return Value::of(length - index);
  if (name == "revindex0") return Value::of(length - index - 1);
  if (name == "first") return Value::of(index == 0);
  if (name == "last") return Value::of(index + 1 == length);
  if (name == "length") return Value::of(length);
  if (name == "depth") return Value::of(loop.depth);
  if (name == "depth0") return Value::of(loop.depth - 1);
  if (name == "previtem")
    return index == 0 ? Value::undefined("there is no previous item") : loop.items[loop.index - 1];
  if (name == "nextitem") {
    return index + 1 == length ? Value::undefined("there is no next item") : loop.items[loop.index + 1];
  }
  return no_attribute(self, name);
}

const Value* named(const Namespace& names, const std::string& name) {
  for (const auto& [key, value] : names.attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

// What Python's getattr gives, if anything.
std::optional<Value> own_attribute(const Value& value, const std::string& name) {
  if (const Namespace* names = value.names()) {
    const Value* found = named(*names, name);
    return found == nullptr ? no_attribute(value, name) : *found;
  }
  if (const auto* loop = value.get<std::shared_ptr<Loop>>()) {
    if (name == "cycle") return Value(Value::Held(Method{std::make_shared<const Value>(value), name}));
    return loop_attribute(**loop, value, name);
  }
  if (const auto* macro = value.get<std::shared_ptr<const Macro>>(); macro != nullptr && name == "name") {
    return Value::of((*macro)->name);
  }
  if (!has_method(value, name)) return std::nullopt;
  return Value(Value::Held(Method{std::make_shared<const Value>(value), name}));
}

// value[index] where Python has it.
std::optional<Value> own_item(const Value& value, const Value& index) {
  if (const Dict* dict = value.dict()) {
    const Value* found = find(*dict, index);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  if (!index.is_whole()) return std::nullopt;
  const Sequence* sequence = value.sequence();
  const bool indexed = sequence != nullptr && sequence->flavor <= Sequence::Flavor::kRange;
  if (!indexed && !value.is_text()) return std::nullopt;
  const int64_t length = indexed ? static_cast<int64_t>(sequence->items.size()) : code_points_in(value.text());
  const int64_t at = index.whole() < 0 ? index.whole() + length : index.whole();
  if (at < 0 || at >= length) return std::nullopt;
  if (indexed) return sequence->items[static_cast<size_t>(at)];
  const size_t begin = byte_of_code_point(value.text(), at);
  const size_t end = begin + byte_of_code_point(std::string_view(value.text()).substr(begin), 1);
  return Value::of(value.text().substr(begin, end - begin));
}

// The indices that a slice of something of `length` takes.
StatusOr<std::vector<int64_t>> slice_indices(int64_t length, const Value& begin, const Value& end, const Value& step) {
  for (const Value* bound : {&begin, &end, &step}) {
    GQ_RETURN_IF_ERROR(defined(*bound));
    if (bound->is_none() || bound->is_whole()) continue;
    return absl::InvalidArgumentError("a slice's bounds must be int or none, not " + type_of(*bound));
  }
  const int64_t by = step.is_none() ? 1 : std::clamp<int64_t>(step.whole(), -length - 1, length + 1);
  if (!step.is_none() && step.whole() == 0) return absl::InvalidArgumentError("a slice's step must not be zero");
  const auto bound = [&](const Value& given, int64_t otherwise) {
    if (given.is_none()) return otherwise;
    const int64_t from_front = given.whole() < 0 ? std::max(given.whole(), -length - 1) + length : given.whole();
    return std::clamp<int64_t>(from_front, by > 0 ? 0 : -1, by > 0 ? length : length - 1);
  };
  const int64_t first = bound(begin, by > 0 ? 0 : length - 1);
  const int64_t last = bound(end, by > 0 ? length : -1);
  std::vector<int64_t> indices;
  for (int64_t i = first; by > 0 ? i < last : i > last; i += by) indices.push_back(i);
  return indices;
}

}  // namespace

StatusOr<Value> attribute_of(const Value& value, const std::string& name) {
  GQ_RETURN_IF_ERROR(defined(value));
  if (std::optional<Value> own = own_attribute(value, name)) return *std::move(own);
  if (std::optional<Value> item = own_item(value, Value::of(name))) return *std::move(item);
  return no_attribute(value, name);
}

StatusOr<Value> item_of(const Value& value, const Value& index) {
  GQ_RETURN_IF_ERROR(defined(value));
  if (std::optional<Value> item = own_item(value, index)) return *std::move(item);
  if (!index.is_text()) return no_element(value, index);
  if (std::optional<Value> own = own_attribute(value, index.text())) return *std::move(own);
  return no_attribute(value, index.text());
}

StatusOr<Value> slice_of(const Value& value, const Value& begin, const Value& end, const Value& step) {
  GQ_RETURN_IF_ERROR(defined(value));
  const Sequence* sequence = value.sequence();
  const bool indexed = sequence != nullptr && sequence->flavor <= Sequence::Flavor::kRange;
  if (!indexed && !value.is_text()) return no_attribute(value, "slice");
  if (value.is_text()) {
    const std::vector<std::string_view> characters = split_characters(value.text());
    GQ_ASSIGN_OR_RETURN(const std::vector<int64_t> indices,
                        slice_indices(static_cast<int64_t>(characters.size()), begin, end, step));
    std::string text;
    for (const int64_t i : indices) text += characters[static_cast<size_t>(i)];
    return Value::of(std::move(text));
  }
  GQ_ASSIGN_OR_RETURN(const std::vector<int64_t> indices,
                      slice_indices(static_cast<int64_t>(sequence->items.size()), begin, end, step));
  std::vector<Value> items;
  for (const int64_t i : indices) items.push_back(sequence->items[static_cast<size_t>(i)]);
  return make_sequence(sequence->flavor, std::move(items));
}

}  // namespace gridquant::text::jinja
