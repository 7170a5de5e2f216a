// One line per state change, to standard error. Never inside a loop over tensors.
#pragma once

#include <string_view>

namespace gridquant::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };  // error: a human should look

void set_log_level(LogLevel at_least);
void log(LogLevel level, std::string_view message);

}  // namespace gridquant::base
