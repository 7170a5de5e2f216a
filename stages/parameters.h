// A stage's `with:` against the catalog: defaults filled in, types and ranges checked. The pipeline validator has done
// this already for a run; a worker started by hand gets the same answers here.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/base/status.h"
#include "stages/catalog/catalog.h"

namespace gridquant::stages {

// `with` with every default filled in. InvalidArgument lists all that is wrong.
StatusOr<nlohmann::json> complete_parameters(const StageInfo& stage, const nlohmann::json& with);

// Bytes of a parameter of type kSize, out of complete parameters.
uint64_t size_parameter(const nlohmann::json& with, const std::string& name);

}  // namespace gridquant::stages
