// Inside engine/model only: the attention part of a decoder block: norm; q, k, v; rotary embedding; causal attention;
// o added to the residual stream. Sites attention_input and attention_output.
#pragma once

#include <memory>
#include <string>

#include "engine/model/arch/block_part.h"

namespace gridquant::model {

struct AttentionSpec {
  std::string prefix;  // of the block's tensors: "model.layers.3."
  int64_t hidden_size = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  double rope_theta = 10000.0;
  bool qkv_bias = false;
  bool output_bias = false;
  NormStyle norm;
};

// What the configuration says about block `b`; the architecture says the rest (biases).
AttentionSpec attention_spec(const ModelConfig& config, int64_t b);

std::unique_ptr<BlockPart> make_attention_part(const AttentionSpec& spec, ops::Compute compute);

}  // namespace gridquant::model
