// Opens a model. Not here: reading of weights (block_loop), statistics of weights (analyze).
#include "stages/model_source.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/adapter.h"

namespace gridquant::stages {
namespace {

constexpr size_t kMaxListed = 10;
constexpr char kConfigFile[] = "config.json";

bool is_supported(tensor::DType dtype) {
  return dtype == tensor::DType::kF32 || dtype == tensor::DType::kF16 || dtype == tensor::DType::kBF16;
}

// What is wrong with `spec` among `tensors`, or "".
std::string problem_of(const model::TensorSpec& spec, const formats::TensorSource& tensors) {
  const formats::TensorEntry* entry = tensors.find(spec.name);
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

StatusOr<ModelSource> with_config(formats::Source opened, const std::string& config_text) {
  ModelSource source;
  GQ_ASSIGN_OR_RETURN(source.config, model::parse_model_config(config_text, opened.texts->path_of(kConfigFile)));
  source.architecture = &model::architecture_of(source.config);
  source.path = std::move(opened.path);
  source.tensors = std::move(opened.tensors);
  source.texts = std::move(opened.texts);
  source.files = std::move(opened.files);
  return source;
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

StatusOr<ModelSource> open_model(base::Env& env, const std::string& path, const std::string& adapter) {
  GQ_ASSIGN_OR_RETURN(formats::Source opened, formats::open_source(env, path));
  if (!adapter.empty()) {
    GQ_ASSIGN_OR_RETURN(opened, formats::apply_adapter(env, std::move(opened), adapter));
  }
  GQ_ASSIGN_OR_RETURN(const std::string text, opened.texts->read(kConfigFile));
  return with_config(std::move(opened), text);
}

StatusOr<ModelSource> open_model_as(base::Env& env, const std::string& path, const std::string& config_text) {
  GQ_ASSIGN_OR_RETURN(formats::Source opened, formats::open_source(env, path));
  return with_config(std::move(opened), config_text);
}

Status check_tensors(const ModelSource& source) {
  std::vector<std::string> problems;
  size_t count = 0;
  for (const model::TensorSpec& spec : source.all_tensors()) {
    std::string problem = problem_of(spec, *source.tensors);
    if (problem.empty()) continue;
    if (++count <= kMaxListed) problems.push_back(std::move(problem));
  }
  if (count == 0) return absl::OkStatus();
  std::string message = absl::StrCat(source.path, ": ", absl::StrJoin(problems, "; "));
  if (count > kMaxListed) absl::StrAppend(&message, "; and ", count - kMaxListed, " more");
  return absl::FailedPreconditionError(message);
}

}  // namespace gridquant::stages
