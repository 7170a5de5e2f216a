// Stored files against their digests.
#include "stages/committed_files.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/digest.h"
#include "stages/parallel.h"
#include "stages/task.h"

namespace gridquant::stages {

Status as_damage(const Status& status) {
  const bool content = absl::IsNotFound(status) || absl::IsFailedPrecondition(status) || absl::IsOutOfRange(status) ||
                       absl::IsInvalidArgument(status);
  return content ? absl::DataLossError(status.message()) : status;
}

StatusOr<CommittedFiles> CommittedFiles::open(base::Env& env, const std::string& folder) {
  const StatusOr<Artifact> manifest = read_artifact(env, folder);
  if (!manifest.ok()) return as_damage(manifest.status());
  CommittedFiles files(env, folder);
  for (const ArtifactFile& file : manifest->files) files.digests_[file.path] = file.sha256;
  return files;
}

StatusOr<std::string> CommittedFiles::read(const std::string& file) const {
  StatusOr<std::string> content = base::read_file(*env_, base::join_path(folder_, file));
  if (!content.ok()) return as_damage(content.status());
  GQ_RETURN_IF_ERROR(check(file, base::digest_of(*content)));
  return content;
}

Status CommittedFiles::verify(const std::string& file) const {
  const StatusOr<std::string> digest = base::digest_of_file(*env_, base::join_path(folder_, file));
  return digest.ok() ? check(file, *digest) : as_damage(digest.status());
}

Status CommittedFiles::check(const std::string& file, const std::string& digest) const {
  const auto committed = digests_.find(file);
  if (committed != digests_.end() && committed->second == digest) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(base::join_path(folder_, file), ": its content differs from what was committed"));
}

Status CommittedFiles::verify_below(const std::string& sub_folder, device::ThreadPool& pool) const {
  std::vector<std::string> files;
  for (const auto& [file, digest] : digests_) {
    if (file.starts_with(sub_folder + "/")) files.push_back(file);
  }
  return parallel(pool, static_cast<int64_t>(files.size()),
                  [&](int64_t i, int) { return verify(files[static_cast<size_t>(i)]); });
}

}  // namespace gridquant::stages
