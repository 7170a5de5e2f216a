// See artifacts.h.
#include "coordinator/control/artifacts.h"

#include "stages/task.h"

namespace gridquant::control {

StatusOr<nlohmann::json> find_artifact(base::Env& env, const std::string& folder, const std::string& key,
                                       const std::function<void(const std::string& message)>& warn) {
  const StatusOr<stages::Artifact> artifact = stages::read_artifact(env, folder);
  Status found = artifact.status();
  if (artifact.ok()) {
    const bool delivered = artifact->summary.contains("checkpoint");  // else whoever reads it compares the digests
    found = artifact->key == key ? stages::verify_artifact(env, folder, *artifact, delivered)
                                 : absl::DataLossError(folder + " is of another key");
  }
  if (found.ok()) return artifact->summary;
  if (is_io_trouble(found)) {  // it stays: the worker looks again
    warn("a stored result cannot be looked at: " + std::string(found.message()));
  } else if (!absl::IsNotFound(found)) {
    warn("a stored result is damaged and is made again: " + std::string(found.message()));
    stages::discard_artifact(env, folder).IgnoreError();
  }
  return absl::NotFoundError("no artifact " + folder);
}

}  // namespace gridquant::control
