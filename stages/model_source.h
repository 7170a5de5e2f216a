// A model folder, opened and checked: configuration, architecture, checkpoint. What every stage starts from.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/safetensors.h"
#include "engine/model/architecture.h"

namespace gridquant::stages {

struct ModelSource {
  std::string folder;
  model::ModelConfig config;
  const model::Architecture* architecture = nullptr;  // never null
  formats::Checkpoint checkpoint;

  std::vector<model::TensorSpec> outer() const { return architecture->outer_tensors(config); }
  std::vector<model::TensorSpec> block(int64_t b) const { return architecture->block_tensors(config, b); }
  std::vector<model::TensorSpec> all_tensors() const;  // outer, then block by block
};

StatusOr<ModelSource> open_model(base::Env& env, const std::string& folder);
// The same with another text in the place of config.json's.
StatusOr<ModelSource> open_model_as(base::Env& env, const std::string& folder, const std::string& config_text);

// FailedPrecondition if a tensor of the architecture is absent, has another shape or is not F32, F16 or BF16; lists up
// to ten.
Status check_tensors(const ModelSource& source);

}  // namespace gridquant::stages
