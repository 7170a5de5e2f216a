// Inside engine/model only: the gated MLP part of a decoder block: norm; gate and up; activation(gate) * up; down added
// to the residual stream. Sites mlp_input and mlp_output.
#pragma once

#include <memory>
#include <string>

#include "engine/model/arch/block_part.h"

namespace gridquant::model {

struct GatedMlpSpec {
  std::string prefix;  // of the block's tensors: "model.layers.3."
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  bool bias = false;
  NormStyle norm;
};

// What the configuration says about block `b`; the architecture says the rest (bias).
GatedMlpSpec gated_mlp_spec(const ModelConfig& config, int64_t b);

std::unique_ptr<BlockPart> make_gated_mlp_part(const GatedMlpSpec& spec, ops::Compute compute);

}  // namespace gridquant::model
