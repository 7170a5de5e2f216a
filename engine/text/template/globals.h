// The functions that a template may call without having made them: Jinja's range, dict, namespace, and what
// transformers adds, raise_exception and strftime_now.
#pragma once

#include <string>

#include "engine/base/status.h"
#include "engine/text/template/arguments.h"
#include "engine/text/template/value.h"

namespace gridquant::text::jinja {

struct Date {
  int year = 2024;
  int month = 7;  // 1 to 12
  int day = 26;
};

bool is_global(const std::string& name);
// `now` is what strftime_now writes, at midnight. namespace() is not here: namespaces belong to a rendering.
StatusOr<Value> call_global(const std::string& name, const Arguments& arguments, const Date& now, Budget& budget);

// strftime() for the fields that have to do with a day: %d %m %Y %y %b %B %a %A %j %e %-d %-m %H %M %S %%.
StatusOr<std::string> format_date(const std::string& format, const Date& date);

}  // namespace gridquant::text::jinja
