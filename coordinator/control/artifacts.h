// The store of artifacts as the coordinator looks at it.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::control {

// The summary of the finished artifact of this key; NotFound if it has to be made, or cannot be looked at just now.
// What is there but damaged, or of another key with the same first digits, is removed: nothing in it can be trusted.
// `warn` is told of both. Files of a checkpoint, which is delivered as it is, are compared with their digests (all are
// read: a second for 2 GB), others with their sizes: the stages that read those digest them.
StatusOr<nlohmann::json> find_artifact(base::Env& env, const std::string& folder, const std::string& key,
                                       const std::function<void(const std::string& message)>& warn);

}  // namespace gridquant::control
