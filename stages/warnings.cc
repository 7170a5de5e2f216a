// See warnings.h.
#include "stages/warnings.h"

#include <nlohmann/json.hpp>

namespace gridquant::stages {
namespace {

using nlohmann::json;

std::string path_for(const std::string& artifact_folder) {
  return artifact_folder + ".warnings.json";
}

}  // namespace

Status keep_warnings(base::Env& env, const std::string& artifact_folder, const std::vector<std::string>& warnings) {
  const std::string path = path_for(artifact_folder);
  if (warnings.empty()) return env.exists(path) ? env.remove_file(path) : absl::OkStatus();
  return base::write_file_atomically(env, path, json(warnings).dump(-1, ' ', false, json::error_handler_t::replace));
}

std::vector<std::string> recall_warnings(base::Env& env, const std::string& artifact_folder) {
  std::vector<std::string> warnings;
  const std::string path = path_for(artifact_folder);
  if (!env.exists(path)) return warnings;
  const StatusOr<std::string> text = base::read_file(env, path);
  if (!text.ok()) return warnings;
  const json list = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return warnings;
  for (const json& warning : list) {
    if (warning.is_string() && warnings.size() < kMaxWarnings) warnings.push_back(warning.get<std::string>());
  }
  return warnings;
}

}  // namespace gridquant::stages
