// Opens a model folder. Not here: reading of weights (block_loop), statistics of weights (analyze).
#include "stages/model_source.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace gridquant::stages {
namespace {

constexpr size_t kMaxListed = 10;

bool is_supported(tensor::DType dtype) {
  return dtype == tensor::DType::kF32 || dtype == tensor::DType::kF16 || dtype == tensor::DType::kBF16;
}

// What is wrong with `spec` in the checkpoint, or "".
std::string problem_of(const model::TensorSpec& spec, const formats::Checkpoint& checkpoint) {
  const formats::TensorEntry* entry = checkpoint.find(spec.name);
  if (entry == nullptr) {
    return absl::StrCat("tensor ", spec.name, " ", tensor::to_string(spec.shape), " is missing");
  }
  if (entry->shape != spec.shape) {
    return absl::StrCat("tensor ", spec.name, " has shape ", tensor::to_string(entry->shape),
                        ", the configuration says ", tensor::to_string(spec.shape));
  }
  if (!is_supported(entry->dtype)) {
    return absl::StrCat("tensor ", spec.name, " has type ", std::string(tensor::name_of(entry->dtype)),
                        ", known are F32, F16, BF16");
  }
  return "";
}

}  // namespace

std::vector<model::TensorSpec> ModelSource::all_tensors() const {
  std::vector<model::TensorSpec> all = outer();
  for (int64_t b = 0; b < config.block_count; ++b) {
    std::vector<model::TensorSpec> specs = block(b);
    all.insert(all.end(), std::make_move_iterator(specs.begin()), std::make_move_iterator(specs.end()));
  }
  return all;
}

StatusOr<ModelSource> open_model(base::Env& env, const std::string& folder) {
  const std::string config_path = base::join_path(folder, "config.json");
  if (!env.is_folder(folder)) {
    return absl::NotFoundError(absl::StrCat(folder, ": is not a folder (a Hugging Face model folder is needed)"));
  }
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, config_path));
  return open_model_as(env, folder, text);
}

StatusOr<ModelSource> open_model_as(base::Env& env, const std::string& folder, const std::string& config_text) {
  ModelSource source;
  source.folder = folder;
  GQ_ASSIGN_OR_RETURN(source.config, model::parse_model_config(config_text, base::join_path(folder, "config.json")));
  source.architecture = &model::architecture_of(source.config);
  GQ_ASSIGN_OR_RETURN(source.checkpoint, formats::Checkpoint::open(env, folder));
  return source;
}

Status check_tensors(const ModelSource& source) {
  std::vector<std::string> problems;
  size_t count = 0;
  for (const model::TensorSpec& spec : source.all_tensors()) {
    std::string problem = problem_of(spec, source.checkpoint);
    if (problem.empty()) continue;
    if (++count <= kMaxListed) problems.push_back(std::move(problem));
  }
  if (count == 0) return absl::OkStatus();
  std::string message = absl::StrCat(source.folder, ": ", absl::StrJoin(problems, "; "));
  if (count > kMaxListed) absl::StrAppend(&message, "; and ", count - kMaxListed, " more");
  return absl::FailedPreconditionError(message);
}

}  // namespace gridquant::stages
