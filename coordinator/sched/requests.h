// What makes two requests the same one. Private to coordinator/sched.
#pragma once

#include <string>

#include "coordinator/sched/input.h"

namespace gridquant::sched {

std::string request_of(const Input& input);      // its id; "" if it has none
std::string content_digest(const Input& input);  // of a request: equal for equal contents

}  // namespace gridquant::sched
