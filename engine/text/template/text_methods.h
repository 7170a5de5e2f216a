// Inside engine/text/template only: str's methods.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/text/template/arguments.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

bool is_text_method(std::string_view name);  // that Python's str has
StatusOr<Value> call_text_method(const Value& self, const std::string& name, const Arguments& arguments,
                                 Budget& budget);

}  // namespace gridquant::text::jinja
