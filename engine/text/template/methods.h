// The methods of str, list, tuple and dict that change nothing, as Python has them. (Those that change something are
// refused by Jinja's sandbox too.)
#pragma once

#include <string>

#include "engine/base/status.h"
#include "engine/text/template/arguments.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

// Whether Python's type has a method of this name, also one that call_method() then refuses.
bool has_method(const Value& value, const std::string& name);

// Unimplemented for a method that Python has and this has not; InvalidArgument for wrong arguments.
StatusOr<Value> call_method(const Value& self, const std::string& name, const Arguments& arguments, Budget& budget);

// str.replace(): at most `count` times, or everywhere if it is negative.
StatusOr<std::string> replaced(const std::string& text, const std::string& from, const std::string& to, int64_t count,
                               Budget& budget);

}  // namespace gridquant::text::jinja
