// A model, opened and checked: configuration, architecture, weights, texts. What every stage starts from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/source.h"
#include "engine/model/architecture.h"

namespace gridquant::stages {

struct ModelSource {
  std::string path;  // folder or file, as the pipeline names it
  model::ModelConfig config;
  const model::Architecture* architecture = nullptr;     // never null
  std::shared_ptr<const formats::TensorSource> tensors;  // never null
  std::shared_ptr<const formats::TextFiles> texts;       // never null
  std::vector<std::string> files;                        // paths of everything on disk that it is made of

  std::vector<model::TensorSpec> outer() const { return architecture->outer_tensors(config); }
  std::vector<model::TensorSpec> block(int64_t b) const { return architecture->block_tensors(config, b); }
  std::vector<model::TensorSpec> all_tensors() const;  // outer, then block by block
};

// `adapter` is a PEFT folder that is merged into the weights; "" for none.
StatusOr<ModelSource> open_model(base::Env& env, const std::string& path, const std::string& adapter = "");
// The same with another text in the place of config.json's.
StatusOr<ModelSource> open_model_as(base::Env& env, const std::string& path, const std::string& config_text);

// FailedPrecondition if a tensor of the architecture is absent, has another shape or is not F32, F16 or BF16; lists up
// to ten.
Status check_tensors(const ModelSource& source);

}  // namespace gridquant::stages
