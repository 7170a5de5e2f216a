// Quantized weights for the GPTQ tests: every code and every zero point occurs.
#pragma once

#include <random>

#include "engine/formats/gptq.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {

inline quant::QuantizedWeight random_weight(const quant::GridSpec& grid, int64_t rows, int64_t cols,
                                            uint32_t seed = 1) {
  std::mt19937 random(seed);
  quant::QuantizedWeight weight;
  weight.grid = grid;
  weight.rows = rows;
  weight.cols = cols;
  for (int64_t i = 0; i < rows * cols; ++i) weight.codes.push_back(random() & grid.max_code());
  for (int64_t i = 0; i < rows * weight.groups(); ++i) {
    weight.scales.push_back(tensor::to_f16((static_cast<float>(random() % 2000) - 1000.0f) / 4096.0f));
    weight.zeros.push_back(grid.symmetric ? 1 << (grid.bits - 1) : 1 + random() % grid.max_code());
  }
  return weight;
}

inline const tensor::Tensor& part(const std::vector<NamedTensor>& tensors, const std::string& name) {
  for (const NamedTensor& tensor : tensors) {
    if (tensor.name == name) return tensor.tensor;
  }
  ADD_FAILURE() << "no tensor " << name;
  return tensors.front().tensor;
}

inline std::vector<uint32_t> words_of(const tensor::Tensor& tensor) {
  const auto words = tensor.as<uint32_t>();
  return {words.begin(), words.end()};
}

}  // namespace gridquant::formats
