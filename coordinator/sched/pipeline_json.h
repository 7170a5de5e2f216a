// A Pipeline as JSON and back: how a submitted run is recorded.
#pragma once

#include <nlohmann/json.hpp>

#include "coordinator/spec/pipeline.h"
#include "engine/base/status.h"

namespace gridquant::sched {

nlohmann::json to_json(const spec::Pipeline& pipeline);
StatusOr<spec::Pipeline> pipeline_from_json(const nlohmann::json& json);  // DataLoss if it is none

}  // namespace gridquant::sched
