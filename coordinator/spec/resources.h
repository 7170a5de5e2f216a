// Parameters in 'resources' and 'parallelism': ${params.ranks} instead of a number.
#pragma once

#include "coordinator/spec/context.h"
#include "coordinator/spec/params.h"
#include "coordinator/spec/ynode.h"

namespace gridquant::spec {

// Puts the values of parameters in the place of expressions in every stage's 'resources' and 'parallelism', before
// anything checks or reads them there. A parameter without a value (gridquant validate) counts as 1. Reports what
// cannot be evaluated.
void bind_resources(YDocument& document, const Params& params, const Context& context);

}  // namespace gridquant::spec
