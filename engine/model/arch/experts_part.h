// Inside engine/model only: the mixture-of-experts part of a decoder block: norm; router; the top_k experts of every
// token, each a gated MLP (SiLU); their outputs, weighted, added to the residual stream in the order of the experts.
// Sites mlp_input and mlp_output, both routed. Source: Mixtral (Jiang et al. 2024, arXiv:2401.04088) and transformers'
// modeling_mixtral.py, modeling_qwen3_moe.py.
#pragma once

#include <memory>
#include <string>

#include "engine/model/arch/block_part.h"

namespace gridquant::model {

struct ExpertsSpec {
  std::string norm_name;  // "model.layers.3.post_attention_layernorm.weight"
  std::string prefix;     // of the router and the experts: "model.layers.3.mlp."
  std::string gate = "gate_proj", up = "up_proj", down = "down_proj";  // after "experts.N."
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;  // of one expert
  int64_t experts = 0;
  RoutingRule routing;
  NormStyle norm;
};

// The configuration's mixture in block `b`; the architecture says how its tensors are called.
ExpertsSpec experts_spec(const ModelConfig& config, int64_t b);

std::unique_ptr<BlockPart> make_experts_part(const ExpertsSpec& spec, ops::Compute compute);

}  // namespace gridquant::model
