// spec.params and the values given with -p.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "coordinator/spec/check.h"
#include "coordinator/spec/context.h"
#include "coordinator/spec/ynode.h"

namespace gridquant::spec {

struct Param {
  FormatField field;     // name, shape, choices and range of its value
  bool sound = true;     // false: the declaration is wrong, and nothing may be concluded from it
  bool known = false;    // `value` is final; false where a required value was not given
  nlohmann::json value;  // null: an optional parameter without value
};

using Params = std::map<std::string, Param>;

// `spec` is the map under the document's "spec". Assumes that check_shape has reported what it sees.
Params read_params(const YNode& spec, const Context& context);

nlohmann::json final_values(const Params& params);  // of those that are known

}  // namespace gridquant::spec
