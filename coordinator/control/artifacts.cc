// See artifacts.h.
#include "coordinator/control/artifacts.h"

#include "coordinator/store/workdir.h"
#include "engine/base/log.h"
#include "stages/task.h"

namespace gridquant::control {

StatusOr<nlohmann::json> find_artifact(base::Env& env, const std::string& store, const std::string& uses,
                                       const std::string& key) {
  const std::string folder = store::artifact_folder(store, uses, key);
  const StatusOr<stages::Artifact> artifact = stages::read_artifact(env, folder);
  if (artifact.ok() && artifact->key == key) {
    const Status intact = stages::verify_artifact(env, folder, *artifact, /*digests=*/false);
    if (intact.ok()) return artifact->summary;
    base::log(base::LogLevel::kWarning,
              "a stored result is damaged and is made again: " + std::string(intact.message()));
  }
  if (artifact.ok() || artifact.status().code() != absl::StatusCode::kNotFound) {
    stages::discard_artifact(env, folder).IgnoreError();
  }
  return absl::NotFoundError("no artifact " + folder);
}

}  // namespace gridquant::control
