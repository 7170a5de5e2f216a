// Inputs of a stage, found and checked.
#include "stages/inputs.h"

#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "stages/committed_files.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

Status check_unchanged(base::Env& env, const json& files) {
  for (const json& file : files) {
    const std::string path = file.at("path").get<std::string>();
    GQ_ASSIGN_OR_RETURN(const uint64_t bytes, env.file_size(path));
    if (bytes != file.at("bytes").get<uint64_t>()) {
      return absl::FailedPreconditionError(absl::StrCat(path, ": has changed since analyze (", bytes,
                                                        " bytes, there were ", file.at("bytes").dump(),
                                                        "); run the pipeline again from analyze"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::string> input_folder(const StageContext& context, const std::string& name) {
  const auto it = context.task.inputs.find(name);
  if (it == context.task.inputs.end()) {
    return absl::InvalidArgumentError(absl::StrCat("stage ", context.task.uses, " needs the artifact of ", name));
  }
  return it->second;
}

StatusOr<ModelSource> open_analyzed_model(StageContext& context) {
  GQ_ASSIGN_OR_RETURN(const std::string folder, input_folder(context, "analyze"));
  const std::string path = base::join_path(folder, "analysis.json");
  GQ_ASSIGN_OR_RETURN(const CommittedFiles files, CommittedFiles::open(context.env, folder));
  GQ_ASSIGN_OR_RETURN(const std::string text, files.read("analysis.json"));
  std::string model;
  std::string adapter;
  try {
    const json analysis = json::parse(text);
    model = analysis.at("model").get<std::string>();
    adapter = analysis.value("adapter", "");
    GQ_RETURN_IF_ERROR(check_unchanged(context.env, analysis.at("files")));
  } catch (const json::exception& e) {
    return absl::DataLossError(absl::StrCat(path, ": is not an analysis: ", e.what()));
  }
  GQ_ASSIGN_OR_RETURN(ModelSource source, open_model(context.env, model, adapter));
  GQ_RETURN_IF_ERROR(check_tensors(source));
  return source;
}

uint64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");  // no file of anybody's: not behind Env
  for (std::string line; std::getline(status, line);) {
    uint64_t kib = 0;
    if (line.starts_with("VmHWM:") && absl::SimpleAtoi(line.substr(6, line.size() - 6 - 3), &kib)) return kib * 1024;
  }
  return 0;
}

}  // namespace gridquant::stages
