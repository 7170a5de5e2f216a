// Inside engine/model only: the attention part of a decoder block: norm; q, k, v; their norms; rotary embedding; causal
// attention; o, normed in some models, added to the residual stream. Sites attention_input and attention_output.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/model/arch/block_part.h"

namespace gridquant::model {

struct AttentionSpec {
  std::string prefix;  // of the block's tensors: "model.layers.3."
  int64_t hidden_size = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  float scale = 1.0f;             // of the scores
  int64_t window = 0;             // ops/attention.h
  float soft_cap = 0;             // ops/attention.h
  std::vector<RopeConfig> ropes;  // every one of the model, so that scratch memory serves all its blocks
  size_t rope = 0;                // the block's
  NormStyle norm;
  // What the architecture says:
  bool qkv_bias = false;
  bool output_bias = false;
  bool qk_norms = false;    // q_norm and k_norm, over each head
  bool fused_qkv = false;   // one weight qkv_proj, rows of q, k and v
  bool norm_after = false;  // post_attention_layernorm is over the part's result, not over the next part's input
};

// What the configuration says about block `b`.
AttentionSpec attention_spec(const ModelConfig& config, int64_t b);

std::unique_ptr<BlockPart> make_attention_part(const AttentionSpec& spec, ops::Compute compute);

}  // namespace gridquant::model
