// Inside engine/model only: the gated MLP part of a decoder block: norm; gate and up; activation(gate) * up; down,
// normed in some models, added to the residual stream. Sites mlp_input and mlp_output.
#pragma once

#include <memory>
#include <string>

#include "engine/model/arch/block_part.h"

namespace gridquant::model {

enum class Activation { kSilu, kGeluTanh };

// out = activation(gate) * up.
Status gated(Activation activation, tensor::Matrix<const float> gate, tensor::Matrix<const float> up,
             const ops::Operand& out);

struct GatedMlpSpec {
  std::string prefix;  // of the block's tensors: "model.layers.3."
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  NormStyle norm;
  // What the architecture says:
  Activation activation = Activation::kSilu;
  bool bias = false;
  bool fused_gate_up = false;  // one weight gate_up_proj, rows of gate and up
  bool norms_around = false;   // pre_feedforward_layernorm and post_feedforward_layernorm (over the part's result)
};

// What the configuration says about block `b`.
GatedMlpSpec gated_mlp_spec(const ModelConfig& config, int64_t b);

std::unique_ptr<BlockPart> make_gated_mlp_part(const GatedMlpSpec& spec, ops::Compute compute);

}  // namespace gridquant::model
