// What the stages that quantize share: quantize itself, whether it solves or joins, and its parts
// (`parallelism: blocks`).
#pragma once

#include "stages/checkpoint_shards.h"
#include "stages/context.h"

namespace gridquant::stages {

// The inputs of such a stage, read and compared with each other.
struct QuantizeInputs {
  ops::Compute compute = ops::Compute::kF32;
  ModelSource source;
  Plan plan;
  std::string calibration;  // folder
};
StatusOr<QuantizeInputs> read_quantize_inputs(StageContext& context);

// Everything that the checkpoint's bytes depend on. `statistics` is a digest of what calibrate left.
StatusOr<std::string> checkpoint_key(const StageContext& context, const QuantizeInputs& inputs,
                                     const std::string& statistics);

// ResourceExhausted: the disk has no room for the shards that are not written yet.
Status check_disk(const StageContext& context, const CheckpointShards& shards);

// One block of the model as a solver takes it.
StatusOr<LoadedBlock> load_to_quantize(const ModelSource& source, const Plan& plan, int64_t b);

// Adds what is to be told of a block to the summary, and warns of what went wrong.
void tell_block(StageContext& context, const QuantizedBlock& block);

// What lies outside the blocks, from file to file as shard 0. Returns at once.
Status commit_outer(const ModelSource& source, CheckpointShards& shards);

// The folder of the finished checkpoint, inside the artifact.
inline constexpr const char* kCheckpoint = "checkpoint";
// What the summary says of a finished checkpoint, however it was made.
void describe_checkpoint(const QuantizeInputs& inputs, nlohmann::json& summary);

}  // namespace gridquant::stages
