// Inside engine/model only: the forward pass of one Llama block, cut at its four sites.
#pragma once

#include <memory>
#include <vector>

#include "engine/model/architecture.h"

namespace gridquant::model {

struct LlamaBlockSpec {
  ModelConfig config;
  ops::Compute compute = ops::Compute::kF32;
  std::vector<TensorSpec> tensors;  // in the order of LlamaArchitecture::block_tensors
};

StatusOr<std::unique_ptr<Block>> make_llama_block(LlamaBlockSpec spec, std::vector<tensor::Tensor> norms_and_biases);

}  // namespace gridquant::model
