// Python's operators on values, and how Jinja looks up attributes and items. Errors are InvalidArgument, without a
// place in the template: the renderer adds it.
#pragma once

#include <string>

#include "engine/base/status.h"
#include "engine/text/template/arguments.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

// "+", "-", "*", "/", "//", "%", "**". Whole numbers beyond 64 bits are an error (Python has no bound).
StatusOr<Value> binary(const std::string& op, const Value& a, const Value& b, Budget& budget);
StatusOr<Value> negative(const Value& value);
// "==", "!=", "<", "<=", ">", ">=", "in", "not in".
StatusOr<bool> compare_by(const std::string& op, const Value& a, const Value& b);
StatusOr<bool> contains(const Value& container, const Value& item);

// value.name: an attribute or method, else an item; undefined if there is neither. An error if `value` is undefined.
StatusOr<Value> attribute_of(const Value& value, const std::string& name);
// value[index]: an item, else an attribute.
StatusOr<Value> item_of(const Value& value, const Value& index);
// value[begin:end:step]; none stands for what is left out.
StatusOr<Value> slice_of(const Value& value, const Value& begin, const Value& end, const Value& step);

// InvalidArgument with its reason if `value` is undefined.
Status defined(const Value& value);

}  // namespace gridquant::text::jinja
