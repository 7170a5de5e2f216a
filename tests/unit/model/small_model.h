// What the tests of one block share: a small model whose sizes are no multiples of a vector's, and random tensors.
#pragma once

#include <random>
#include <string>
#include <utility>

#include "engine/model/architecture.h"

namespace gridquant::model::samples {

inline ModelConfig small_model(const std::string& architecture, int64_t blocks = 1) {
  ModelConfig c;
  c.architecture = architecture;
  c.hidden_size = 20;
  c.intermediate_size = 37;
  c.block_count = blocks;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_dim = 6;
  c.vocab_size = 50;
  c.max_positions = 256;
  return c;
}

// F32, normal around 0; the weights of norms around 1.
inline tensor::Tensor random_tensor(const TensorSpec& spec, std::mt19937& random) {
  tensor::Tensor t(tensor::DType::kF32, spec.shape);
  std::normal_distribution<float> normal(spec.role == TensorRole::kNorm ? 1.0f : 0.0f, 0.3f);
  for (float& v : t.as<float>()) v = normal(random);
  return t;
}

}  // namespace gridquant::model::samples
