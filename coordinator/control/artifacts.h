// The store of artifacts as the coordinator looks at it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::control {

// The summary of the finished artifact of this key; NotFound if it has to be made, or cannot be looked at just now.
// What is there but damaged, or of another key with the same first digits, is removed: nothing in it can be trusted.
StatusOr<nlohmann::json> find_artifact(base::Env& env, const std::string& store, const std::string& uses,
                                       const std::string& key);

}  // namespace gridquant::control
