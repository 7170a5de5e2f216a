// Shared by quantize, its parts and their joining stage.
#include "stages/quantize_parts.h"

#include "absl/strings/str_cat.h"
#include "engine/base/digest.h"
#include "stages/inputs.h"

namespace gridquant::stages {

using nlohmann::json;

StatusOr<QuantizeInputs> read_quantize_inputs(StageContext& context) {
  QuantizeInputs inputs;
  GQ_ASSIGN_OR_RETURN(inputs.compute,
                      device::resolve_compute(context.task.with.at("compute").get<std::string>(), context.cpu));
  GQ_ASSIGN_OR_RETURN(inputs.source, open_analyzed_model(context));
  GQ_ASSIGN_OR_RETURN(const std::string plan_folder, input_folder(context, "plan"));
  GQ_ASSIGN_OR_RETURN(inputs.plan, read_plan(context.env, plan_folder));
  if (inputs.plan.model != inputs.source.path) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan was made for ", inputs.plan.model, ", analyze looked at ", inputs.source.path));
  }
  GQ_ASSIGN_OR_RETURN(inputs.calibration, input_folder(context, "calibrate"));
  return inputs;
}

// Raise the number when the arithmetic changes.
StatusOr<std::string> checkpoint_key(const StageContext& context, const QuantizeInputs& inputs,
                                     const std::string& statistics) {
  GQ_ASSIGN_OR_RETURN(const std::string analyzed, input_folder(context, "analyze"));
  GQ_ASSIGN_OR_RETURN(const std::string model,
                      base::digest_of_file(context.env, base::join_path(analyzed, "analysis.json")));
  return base::digest_of(
      absl::StrCat("quantize 3\n", context.task.key, "\n", model, "\n", plan_fingerprint(inputs.plan), "\n", statistics,
                   "\n", device::name_of(inputs.compute), "\n", context.cpu.kind()));
}

Status check_disk(const StageContext& context, const CheckpointShards& shards) {
  GQ_ASSIGN_OR_RETURN(const uint64_t available, context.env.free_bytes(context.task.artifact));
  const uint64_t needed = shards.missing_bytes();
  if (available >= needed) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(context.task.artifact, ": the rest of the checkpoint needs ", needed,
                                                   " bytes, only ", available, " are free"));
}

StatusOr<LoadedBlock> load_to_quantize(const ModelSource& source, const Plan& plan, int64_t b) {
  LoadFilter filter;
  filter.raw = [&plan](const std::string& name) {
    const PlannedTensor* planned = plan.find(name);
    return planned == nullptr || !planned->quantize;
  };
  return load_block(source, b, filter);
}

void tell_block(StageContext& context, const QuantizedBlock& block) {
  for (const json& layer : block.layers) context.summary["layers"].push_back(layer);
  if (!block.experts.is_null()) context.summary["experts"].push_back(block.experts);
  int64_t starved = 0;
  for (const json& fallback : block.fallbacks) {
    context.summary["fallbacks"].push_back(fallback);
    if (fallback.contains("expert")) {
      ++starved;
      continue;
    }
    context.progress.warning(absl::StrCat(fallback.at("tensor").get<std::string>(), ": rounded to nearest, because ",
                                          fallback.at("reason").get<std::string>()));
  }
  // One line for what may be hundreds of tensors; the report has them all.
  if (starved > 0) {
    context.progress.warning(absl::StrCat("block ", block.index, ": ", starved, " weights of experts that saw too few ",
                                          "tokens were rounded to nearest with the statistics of all experts; more ",
                                          "calibration text reaches more experts"));
  }
}

Status commit_outer(const ModelSource& source, CheckpointShards& shards) {
  if (shards.outer_committed()) return absl::OkStatus();
  std::vector<formats::StreamedTensor> outer;
  for (const model::TensorSpec& spec : source.outer()) {
    GQ_ASSIGN_OR_RETURN(std::unique_ptr<formats::RowReader> rows, source.tensors->rows(spec.name));
    outer.push_back(formats::streamed(spec.name, std::move(rows)));
  }
  return shards.commit_outer(std::move(outer));
}

void describe_checkpoint(const QuantizeInputs& inputs, json& summary) {
  summary["checkpoint"] = kCheckpoint;
  summary["original_bytes"] = inputs.plan.forecast.original_bytes;
  summary["forecast_bytes"] = inputs.plan.forecast.checkpoint_bytes;
  summary["quantized_tensors"] = inputs.plan.quantized_count();
}

}  // namespace gridquant::stages
