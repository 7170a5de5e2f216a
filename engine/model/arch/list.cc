// The list of architectures: one line each.
#include "engine/model/arch/list.h"

#include <array>
#include <cassert>

namespace gridquant::model {
namespace {

std::array<const Architecture*, 9> all() {
  return {
      &llama_architecture(),  &mistral_architecture(), &mixtral_architecture(),
      &qwen2_architecture(),  &qwen3_architecture(),   &gemma2_architecture(),
      &gemma3_architecture(), &phi3_architecture(),    &qwen3_moe_architecture(),
  };
}

}  // namespace

const Architecture& architecture_of(const ModelConfig& config) {
  for (const Architecture* architecture : all()) {
    if (architecture->name() == config.architecture) return *architecture;
  }
  assert(false && "parse_model_config refuses unknown architectures");
  return *all().front();
}

const char* name_of(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbedding:
      return "embedding";
    case TensorRole::kLmHead:
      return "lm_head";
    case TensorRole::kNorm:
      return "norm";
    case TensorRole::kLinear:
      return "linear";
    case TensorRole::kBias:
      return "bias";
    case TensorRole::kRouter:
      return "router";
  }
  return "tensor";
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const Architecture* architecture : all()) names.push_back(architecture->name());
  return names;
}

}  // namespace gridquant::model
