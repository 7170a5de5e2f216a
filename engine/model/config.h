// The facts of a model that everything else is computed from: config.json, checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::model {

struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM"
  std::string model_type;    // "llama"
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t block_count = 0;  // num_hidden_layers
  int64_t head_count = 0;   // num_attention_heads
  int64_t kv_head_count = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 10000.0;
  bool tied_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;

  // A mixture of experts; expert_count 0: there is none.
  int64_t expert_count = 0;
  int64_t experts_per_token = 0;
  int64_t expert_intermediate_size = 0;
  bool normalized_routing = false;    // a token's weights are divided by their sum
  std::vector<int64_t> dense_blocks;  // blocks without experts, ascending
};

// `json_text` is the content of config.json; `path` goes into error messages. Unimplemented (with the list of known
// architectures) for an architecture or an option that this build does not compute exactly; InvalidArgument for a
// field that is missing, of the wrong type or out of range.
StatusOr<ModelConfig> parse_model_config(std::string_view json_text, const std::string& path);

}  // namespace gridquant::model
