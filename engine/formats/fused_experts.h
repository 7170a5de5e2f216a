// Experts of a mixture in two 3-D tensors, as transformers 5 holds them and can save them:
//   <block>.mlp.experts.gate_up_proj [experts, 2 * inner, hidden], gate's rows before up's
//   <block>.mlp.experts.down_proj    [experts, hidden, inner]
// Every weight of an expert is contiguous in them, so it is a tensor of its own at another place of the same file. The
// names are those of checkpoints that store experts one by one, which is what other software reads. Source:
// transformers/conversion_mapping.py ("mixtral", "qwen2_moe").
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/formats/safetensors.h"

namespace gridquant::formats {

// What the tensors are called where experts are stored one by one.
struct ExpertNames {
  std::string module = "mlp";  // in the place of "mlp"
  std::string gate = "gate_proj", up = "up_proj", down = "down_proj";
};
// By config.json's "model_type".
ExpertNames expert_names(const std::string& model_type);

// The tensors that `name` is made of, in order, with their places in the file. Empty if `name` is not a fused tensor of
// experts, or has not the shape of one.
std::vector<std::pair<std::string, TensorEntry>> split_fused_experts(const std::string& name, const TensorEntry& entry,
                                                                     const ExpertNames& names);

}  // namespace gridquant::formats
