// Delivery of a run that has succeeded: what gridquant run does at its end, for a run that nodes carried out.
#pragma once

#include <string>

#include "coordinator/sched/state.h"
#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::control {

// Into options["output"] of the run, with options["environment"] in the report. Doing it again does no harm.
Status deliver_run(base::Env& env, const sched::Run& run, const std::string& store);

}  // namespace gridquant::control
