// Task files and artifact manifests, to and from JSON. Not here: what a stage does with them.
#include "stages/task.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/digest.h"

namespace gridquant::stages {
namespace {

constexpr int kFormat = 1;
constexpr const char* kFreshMark = ".fresh";  // holds the order that the folder was emptied for

Status malformed(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

StatusOr<nlohmann::json> read_json_object(base::Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, path));
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return malformed(path, "not a JSON object");
  const auto format = json.find("format");
  if (format == json.end() || !format->is_number_integer()) return malformed(path, "has no \"format\" number");
  if (*format != kFormat) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": format ", format->dump(),
                                                      " was written by another version (this one reads ", kFormat,
                                                      "); use a new work folder, or the version that wrote it"));
  }
  return json;
}

// The member `key` of `json`, which must be a string.
Status get_string(const nlohmann::json& json, const std::string& path, const char* key, std::string& to) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_string()) return malformed(path, absl::StrCat("\"", key, "\" must be a string"));
  to = it->get<std::string>();
  return absl::OkStatus();
}

Status get_int(const nlohmann::json& json, const std::string& path, const char* key, int& to) {
  const auto it = json.find(key);
  if (it == json.end()) return absl::OkStatus();
  if (!it->is_number_integer()) return malformed(path, absl::StrCat("\"", key, "\" must be a whole number"));
  to = it->get<int>();
  return absl::OkStatus();
}

StatusOr<ArtifactFile> parse_artifact_file(const nlohmann::json& json, const std::string& path) {
  if (!json.is_object()) return malformed(path, "an element of \"files\" is not an object");
  ArtifactFile file;
  GQ_RETURN_IF_ERROR(get_string(json, path, "path", file.path));
  GQ_RETURN_IF_ERROR(get_string(json, path, "sha256", file.sha256));
  const auto bytes = json.find("bytes");
  if (bytes == json.end() || !bytes->is_number_unsigned()) return malformed(path, "\"bytes\" must be a whole number");
  file.bytes = bytes->get<uint64_t>();
  if (file.path.empty() || file.path.front() == '/' || file.path.find("..") != std::string::npos) {
    return malformed(path, absl::StrCat("file path \"", file.path, "\" leaves the artifact's folder"));
  }
  return file;
}

}  // namespace

StatusOr<Task> read_task(base::Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(const nlohmann::json json, read_json_object(env, path));
  Task task;
  GQ_RETURN_IF_ERROR(get_string(json, path, "run", task.run));
  GQ_RETURN_IF_ERROR(get_string(json, path, "stage", task.stage));
  GQ_RETURN_IF_ERROR(get_string(json, path, "uses", task.uses));
  GQ_RETURN_IF_ERROR(get_string(json, path, "key", task.key));
  GQ_RETURN_IF_ERROR(get_string(json, path, "artifact", task.artifact));
  GQ_RETURN_IF_ERROR(get_int(json, path, "attempt", task.attempt));
  GQ_RETURN_IF_ERROR(get_int(json, path, "threads", task.threads));
  if (json.contains("fresh")) GQ_RETURN_IF_ERROR(get_string(json, path, "fresh", task.fresh));
  task.with = json.value("with", nlohmann::json::object());
  if (!task.with.is_object()) return malformed(path, "\"with\" must be an object");
  const nlohmann::json inputs = json.value("inputs", nlohmann::json::object());
  if (!inputs.is_object()) return malformed(path, "\"inputs\" must be an object");
  for (const auto& [name, folder] : inputs.items()) {
    if (!folder.is_string()) return malformed(path, absl::StrCat("input \"", name, "\" must be a folder's path"));
    task.inputs[name] = folder.get<std::string>();
  }
  if (task.artifact.empty()) return malformed(path, "\"artifact\" is empty");
  return task;
}

nlohmann::json to_json(const Task& task) {
  return {{"format", kFormat},         {"run", task.run},        {"stage", task.stage}, {"uses", task.uses},
          {"attempt", task.attempt},   {"key", task.key},        {"with", task.with},   {"inputs", task.inputs},
          {"artifact", task.artifact}, {"threads", task.threads}, {"fresh", task.fresh}};
}

Status write_task(base::Env& env, const std::string& path, const Task& task) {
  return base::write_file_atomically(env, path, to_json(task).dump(2) + "\n");
}

StatusOr<Artifact> read_artifact(base::Env& env, const std::string& folder) {
  const std::string path = base::join_path(folder, kArtifactManifest);
  GQ_ASSIGN_OR_RETURN(const nlohmann::json json, read_json_object(env, path));
  Artifact artifact;
  GQ_RETURN_IF_ERROR(get_string(json, path, "uses", artifact.uses));
  GQ_RETURN_IF_ERROR(get_string(json, path, "key", artifact.key));
  artifact.summary = json.value("summary", nlohmann::json::object());
  if (artifact.summary.is_null()) artifact.summary = nlohmann::json::object();
  if (!artifact.summary.is_object()) return malformed(path, "\"summary\" must be an object");
  const nlohmann::json files = json.value("files", nlohmann::json::array());
  if (!files.is_array()) return malformed(path, "\"files\" must be a list");
  for (const nlohmann::json& element : files) {
    GQ_ASSIGN_OR_RETURN(ArtifactFile file, parse_artifact_file(element, path));
    artifact.files.push_back(std::move(file));
  }
  return artifact;
}

Status commit_artifact(base::Env& env, const std::string& folder, const Artifact& artifact) {
  nlohmann::json files = nlohmann::json::array();
  for (const ArtifactFile& file : artifact.files) {
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  const nlohmann::json json = {{"format", kFormat},
                               {"uses", artifact.uses},
                               {"key", artifact.key},
                               {"summary", artifact.summary},
                               {"files", std::move(files)}};
  // Everything that the manifest names must be on disk before the manifest is, and the folder itself.
  GQ_RETURN_IF_ERROR(env.sync_folder(base::folder_of(folder)));
  GQ_RETURN_IF_ERROR(env.sync_folder(folder));
  return base::write_file_atomically(env, base::join_path(folder, kArtifactManifest), json.dump(2) + "\n");
}

Status discard_artifact(base::Env& env, const std::string& folder) {
  const std::string manifest = base::join_path(folder, kArtifactManifest);
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.list(folder));
  for (const std::string& name : names) {
    if (name == kArtifactManifest || name == kArtifactLock || name == kFreshMark) continue;
    GQ_RETURN_IF_ERROR(env.remove_tree(base::join_path(folder, name)));
  }
  if (!env.exists(manifest)) return absl::OkStatus();
  GQ_RETURN_IF_ERROR(env.sync_folder(folder));
  return env.remove_file(manifest);
}

Status start_fresh(base::Env& env, const std::string& folder, const std::string& order) {
  const std::string mark = base::join_path(folder, kFreshMark);
  if (env.exists(mark)) {
    GQ_ASSIGN_OR_RETURN(const std::string of, base::read_file(env, mark));
    if (of == order) return absl::OkStatus();
  }
  GQ_RETURN_IF_ERROR(env.make_folders(folder));
  GQ_RETURN_IF_ERROR(discard_artifact(env, folder));
  return base::write_file_atomically(env, mark, order);
}

Status verify_artifact(base::Env& env, const std::string& folder, const Artifact& artifact, bool digests) {
  for (const ArtifactFile& file : artifact.files) {
    const std::string path = base::join_path(folder, file.path);
    const StatusOr<uint64_t> bytes = env.file_size(path);
    if (absl::IsNotFound(bytes.status())) return absl::DataLossError(absl::StrCat(path, ": is missing"));
    if (!bytes.ok()) return bytes.status();
    if (*bytes != file.bytes) {
      return absl::DataLossError(absl::StrCat(path, ": has ", *bytes, " bytes, ", file.bytes, " were committed"));
    }
    if (!digests) continue;
    GQ_ASSIGN_OR_RETURN(const std::string sha256, base::digest_of_file(env, path));
    if (sha256 != file.sha256) {
      return absl::DataLossError(absl::StrCat(path, ": its content differs from what was committed"));
    }
  }
  return absl::OkStatus();
}

}  // namespace gridquant::stages
