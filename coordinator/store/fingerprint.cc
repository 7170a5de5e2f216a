// Fingerprints of files and folders: what a path in a pipeline stands for.
#include <algorithm>
#include <filesystem>

#include "coordinator/store/stage_key.h"
#include "engine/base/digest.h"

namespace gridquant::store {
namespace {

constexpr uint64_t kWholeUpToBytes = 64ull << 20;
constexpr uint64_t kEndBytes = 1ull << 20;

// Reading a checkpoint of many GiB for a key would cost more than some stages: its ends and time must do.
StatusOr<std::string> fingerprint_large(base::Env& env, const std::string& path, uint64_t bytes) {
  GQ_ASSIGN_OR_RETURN(const auto file, env.open(path));
  base::Digester digester;
  std::vector<std::byte> part(kEndBytes);
  GQ_RETURN_IF_ERROR(file->read(0, part));
  digester.update(part);
  GQ_RETURN_IF_ERROR(file->read(bytes - kEndBytes, part));
  digester.update(part);
  std::error_code ignored;  // a file that is not the operating system's has no time
  const auto changed = std::filesystem::last_write_time(path, ignored).time_since_epoch().count();
  digester.update("|" + std::to_string(bytes) + "|" + std::to_string(changed));
  return digester.finish();
}

StatusOr<std::string> fingerprint_file(base::Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(const uint64_t bytes, env.file_size(path));
  if (bytes > kWholeUpToBytes) return fingerprint_large(env, path, bytes);
  return base::digest_of_file(env, path);
}

}  // namespace

StatusOr<std::string> fingerprint(base::Env& env, const std::string& path) {
  if (!env.exists(path)) return absl::NotFoundError(path + " does not exist");
  if (!env.is_folder(path)) return fingerprint_file(env, path);
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.list(path));
  base::Digester digester;
  for (const std::string& name : names) {
    const std::string inner = base::join_path(path, name);
    if (env.is_folder(inner)) continue;
    GQ_ASSIGN_OR_RETURN(const std::string digest, fingerprint_file(env, inner));
    digester.update(name + "\n" + digest + "\n");
  }
  return digester.finish();
}

}  // namespace gridquant::store
