// What stands between the quotes of a template's string, with Python's escapes.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace gridquant::text::jinja {

// InvalidArgument for an escape that is cut off, stands for no character (surrogates, above 10FFFF), or is \N{...}.
// Escapes that Python does not know stay as they are written.
StatusOr<std::string> string_literal_value(std::string_view written);

}  // namespace gridquant::text::jinja
