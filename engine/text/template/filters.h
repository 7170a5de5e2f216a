// Jinja's filters and tests, as far as templates for text generation use them. What Jinja has and this has not (those
// that are about HTML, chance, and files of their own) is Unimplemented by name. tojson is transformers', which writes
// HTML characters as they are.
#pragma once

#include <string>

#include "engine/base/status.h"
#include "engine/text/template/arguments.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

StatusOr<Value> apply_filter(const std::string& name, const Value& value, const Arguments& arguments, Budget& budget);
StatusOr<bool> apply_test(const std::string& name, const Value& value, const Arguments& arguments);

// "a.b.0" of an item, as map(attribute=...) and its like look it up. `otherwise`, if given and not none, stands for
// every part of the path that is not there.
StatusOr<Value> dotted_attribute(const Value& item, const Value& path, const Value* otherwise = nullptr);

// Inside engine/text/template only: a filter's function, and the tables that apply_filter() looks into.
using FilterFn = StatusOr<Value> (*)(const Value& value, const Arguments& arguments, Budget& budget);
FilterFn find_text_filter(const std::string& name);      // filters_text.cc
FilterFn find_sequence_filter(const std::string& name);  // filters_sequence.cc

}  // namespace gridquant::text::jinja
