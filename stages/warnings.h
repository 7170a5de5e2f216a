// What a stage warned of while it made an artifact: kept beside the artifact's folder, so that a run that finds the
// artifact can say it again. Not part of the artifact.
#pragma once

#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::stages {

inline constexpr size_t kMaxWarnings = 200;  // of an attempt; a worker that warns without end fills no memory

// Replaces what was kept; none removes it.
Status keep_warnings(base::Env& env, const std::string& artifact_folder, const std::vector<std::string>& warnings);

// What was kept; nothing if it cannot be read.
std::vector<std::string> recall_warnings(base::Env& env, const std::string& artifact_folder);

}  // namespace gridquant::stages
