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

// "-of-00003.gguf" where `name` is a part of a split GGUF model (PREFIX-00001-of-00003.gguf); else "".
std::string split_suffix(const std::string& name) {
  constexpr std::string_view kPattern = "-#####-of-#####.gguf";
  if (name.size() <= kPattern.size()) return "";
  const std::string end = name.substr(name.size() - kPattern.size());
  for (size_t i = 0; i < kPattern.size(); ++i) {
    const bool digit = end[i] >= '0' && end[i] <= '9';
    if (kPattern[i] == '#' ? !digit : end[i] != kPattern[i]) return "";
  }
  return end.substr(end.find("-of-"));
}

// The parts beside the one that is named belong to the same model.
StatusOr<std::string> fingerprint_parts(base::Env& env, const std::string& path, const std::string& suffix) {
  const std::string folder = base::folder_of(path);
  const std::string first = base::file_name_of(path);
  const std::string prefix = first.substr(0, first.size() - suffix.size() - sizeof("00001") + 1);
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.list(folder));
  base::Digester digester;
  for (const std::string& name : names) {
    if (name.size() != first.size() || !name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    GQ_ASSIGN_OR_RETURN(const std::string digest, fingerprint_file(env, base::join_path(folder, name)));
    digester.update(digest + "\n");
  }
  return digester.finish();
}

}  // namespace

StatusOr<std::string> fingerprint(base::Env& env, const std::string& path) {
  if (!env.exists(path)) return absl::NotFoundError(path + " does not exist");
  if (!env.is_folder(path)) {
    const std::string suffix = split_suffix(base::file_name_of(path));
    return suffix.empty() ? fingerprint_file(env, path) : fingerprint_parts(env, path, suffix);
  }
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
