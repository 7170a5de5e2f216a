// Inside engine/model only: what the decoder-only transformers have in common. An architecture is a file that derives
// from DecoderArchitecture, reads its own fields of config.json, and says of which parts a block is made.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/model/arch/block_part.h"

namespace gridquant::model {

class DecoderArchitecture : public Architecture {
 public:
  std::vector<TensorSpec> outer_tensors(const ModelConfig& config) const override;
  std::vector<TensorSpec> block_tensors(const ModelConfig& config, int64_t b) const override;
  std::vector<SiteSpec> sites(const ModelConfig& config, int64_t b) const override;
  StatusOr<std::unique_ptr<Block>> make_block(const ModelConfig& config, int64_t b, ops::Compute compute,
                                              std::vector<tensor::Tensor> norms_and_biases) const override;
  Status embed(const ModelConfig& config, const tensor::Tensor& embedding, std::span<const int32_t> ids,
               tensor::Matrix<float> hidden) const override;
  Status final_norm(const ModelConfig& config, const tensor::Tensor& norm, tensor::Matrix<const float> hidden,
                    const ops::Operand& out) const override;
  Status finish_logits(const ModelConfig& config, tensor::Matrix<float> logits) const override;

 protected:
  // The parts of block `b`, without weights.
  virtual BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const = 0;
};

}  // namespace gridquant::model
