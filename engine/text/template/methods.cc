// Methods by their types. Not here: how a method is found from a value (lookup.cc).
#include "engine/text/template/methods.h"

#include <algorithm>
#include <iterator>

#include "engine/text/template/operators.h"
#include "engine/text/template/python_text.h"
#include "engine/text/template/text_methods.h"

namespace gridquant::text::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"clear", "copy",    "fromkeys",   "get",    "items", "keys",
                                             "pop",   "popitem", "setdefault", "update", "values"};
constexpr std::string_view kListMethods[] = {"append", "clear", "copy",   "count",   "extend", "index",
                                             "insert", "pop",   "remove", "reverse", "sort"};
constexpr std::string_view kTupleMethods[] = {"count", "index"};

template <size_t N>
bool holds(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Status refused(const Value& self, const std::string& name) {
  return absl::UnimplementedError("the method '" + name + "' of a " + type_of(self) +
                                  " changes its object or is not supported");
}

StatusOr<Value> dict_view(const Dict& dict, Sequence::Flavor flavor) {
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items) {
    if (flavor == Sequence::Flavor::kItems) {
      GQ_ASSIGN_OR_RETURN(Value pair, make_sequence(Sequence::Flavor::kTuple, {key, value}));
      items.push_back(std::move(pair));
    } else {
      items.push_back(flavor == Sequence::Flavor::kKeys ? key : value);
    }
  }
  return make_sequence(flavor, std::move(items));
}

StatusOr<Value> call_dict(const Value& self, const std::string& name, const Arguments& arguments, Budget& budget) {
  const Dict& dict = *self.dict();
  GQ_RETURN_IF_ERROR(budget.spend_items(static_cast<int64_t>(dict.items.size())));
  if (name == "get") {
    GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"key", "default"}, 1));
    const Value* found = find(dict, *bound[0]);
    if (found != nullptr) return *found;
    return bound[1] == nullptr ? Value::none() : *bound[1];
  }
  if (name != "items" && name != "keys" && name != "values" && name != "copy") return refused(self, name);
  GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
  if (name == "items") return dict_view(dict, Sequence::Flavor::kItems);
  if (name == "keys") return dict_view(dict, Sequence::Flavor::kKeys);
  return name == "values" ? dict_view(dict, Sequence::Flavor::kValues) : StatusOr<Value>(self);
}

StatusOr<Value> call_list(const Value& self, const std::string& name, const Arguments& arguments) {
  const std::vector<Value>& items = self.sequence()->items;
  if (name == "copy") {
    GQ_RETURN_IF_ERROR(Bound::make(arguments, {}).status());
    return self;
  }
  if (name != "count" && name != "index") return refused(self, name);
  GQ_ASSIGN_OR_RETURN(const Bound bound, Bound::make(arguments, {"value"}, 1));
  const auto same = [&](const Value& item) { return equals(item, *bound[0]); };
  if (name == "count") return Value::of(static_cast<int64_t>(std::count_if(items.begin(), items.end(), same)));
  const auto at = std::find_if(items.begin(), items.end(), same);
  if (at == items.end()) return absl::InvalidArgumentError(repr_of(*bound[0]) + " is not in the " + type_of(self));
  return Value::of(static_cast<int64_t>(at - items.begin()));
}

StatusOr<Value> call_loop(const Loop& loop, const Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.named.empty()) {
    return absl::InvalidArgumentError("needs something to cycle through");
  }
  return arguments.positional[loop.index % arguments.positional.size()];
}

}  // namespace

bool has_method(const Value& value, const std::string& name) {
  if (value.is_text()) return is_text_method(name);
  if (value.dict() != nullptr) return holds(kDictMethods, name);
  if (value.sequence() == nullptr) return false;
  if (value.sequence()->flavor == Sequence::Flavor::kList) return holds(kListMethods, name);
  return value.sequence()->flavor <= Sequence::Flavor::kRange && holds(kTupleMethods, name);
}

StatusOr<Value> call_method(const Value& self, const std::string& name, const Arguments& arguments, Budget& budget) {
  StatusOr<Value> result = Value();
  if (self.is_text()) {
    result = call_text_method(self, name, arguments, budget);
  } else if (self.dict() != nullptr) {
    result = call_dict(self, name, arguments, budget);
  } else if (const auto* loop = self.get<std::shared_ptr<Loop>>()) {
    result = call_loop(**loop, arguments);
  } else {
    result = call_list(self, name, arguments);
  }
  return result.ok() ? result : StatusOr<Value>(annotate(result.status(), type_of(self) + "." + name));
}

}  // namespace gridquant::text::jinja
