// The facts of a model that everything else is computed from: config.json, checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::model {

// How the frequencies of the rotary embedding are changed for sequences longer than those of the first training;
// rope_frequencies.h computes with it.
enum class RopeScaling { kNone, kLinear, kDynamic, kYarn, kLongRope, kLlama3 };

struct RopeConfig {
  double theta = 10000.0;
  double rotated_share = 1.0;  // of a head's elements ("partial_rotary_factor")
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;             // kLinear, kDynamic, kYarn, kLlama3
  int64_t original_positions = 0;  // of the first training; kDynamic: where the scaling begins
  double low_freq_factor = 1.0;    // kLlama3
  double high_freq_factor = 4.0;
  double beta_fast = 32.0;  // kYarn
  double beta_slow = 1.0;
  bool truncate = true;
  std::vector<float> short_factors = {};  // kLongRope: one per pair of rotated elements
  std::vector<float> long_factors = {};
  double magnitude = 1.0;  // of the rotated vectors (kYarn, kLongRope: the "attention factor")
};

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
  bool norm_plus_one = false;  // the stored weight of a norm is the distance from 1
  bool tied_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  // [0]: of every block; where there is a second, that is of the blocks with a window.
  std::vector<RopeConfig> ropes = {RopeConfig{}};
  // Of each block: how many tokens a token sees, itself included; 0: all before it. Empty: no block has a window.
  std::vector<int64_t> windows;
  double query_scale = 0;          // scores are multiplied with it; 0: 1 / sqrt(head_dim)
  float attention_soft_cap = 0;    // 0: none
  float logit_soft_cap = 0;        // 0: none
  bool scaled_embeddings = false;  // times sqrt(hidden_size), rounded to the embedding's type

  // A mixture of experts; expert_count 0: there is none.
  int64_t expert_count = 0;
  int64_t experts_per_token = 0;
  int64_t expert_intermediate_size = 0;
  bool normalized_routing = false;    // a token's weights are divided by their sum
  std::vector<int64_t> dense_blocks;  // blocks without experts, ascending

  int64_t window(int64_t b) const { return windows.empty() ? 0 : windows[static_cast<size_t>(b)]; }
  size_t rope_of(int64_t b) const { return window(b) > 0 ? ropes.size() - 1 : 0; }
};

// `json_text` is the content of config.json; `path` goes into error messages. Unimplemented (with the list of known
// architectures) for an architecture or an option that this build does not compute exactly; InvalidArgument for a
// field that is missing, of the wrong type or out of range.
StatusOr<ModelConfig> parse_model_config(std::string_view json_text, const std::string& path);

}  // namespace gridquant::model
