// Weights and Hessians for the solver tests: small, deterministic, the same on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/tensor/tensor.h"

namespace gridquant::quant::samples {

using Array = std::vector<float>;

inline tensor::Matrix<float> matrix(Array& a, int64_t cols) {
  return {a.data(), static_cast<int64_t>(a.size()) / cols, cols, cols};
}
inline tensor::Matrix<const float> view(const Array& a, int64_t cols) {
  return {a.data(), static_cast<int64_t>(a.size()) / cols, cols, cols};
}

inline tensor::Tensor square_tensor(const Array& a, int64_t cols) {
  tensor::Tensor t(tensor::DType::kF32, {cols, cols});
  std::copy(a.begin(), a.end(), t.as<float>().begin());
  return t;
}

class Noise {
 public:
  explicit Noise(uint64_t seed) : state_(seed * 2862933555777941757ull + 3037000493ull) {}
  float uniform() {  // (-1, 1)
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<float>(static_cast<int64_t>(state_ >> 40)) * 0x1p-23f - 1.0f;
  }
  float bell() { return uniform() + uniform() + uniform(); }  // variance 1

 private:
  uint64_t state_;
};

inline Array weights(int64_t rows, int64_t cols, uint64_t seed) {
  Noise noise(seed);
  Array w(static_cast<size_t>(rows * cols));
  for (float& x : w) x = 0.05f * noise.bell();
  return w;
}

// Inputs with uneven columns and a common direction, [tokens, cols].
inline Array inputs(int64_t tokens, int64_t cols, uint64_t seed) {
  Noise noise(seed);
  Array size(static_cast<size_t>(cols)), x(static_cast<size_t>(tokens * cols));
  for (float& s : size) s = std::exp2(1.5f * noise.bell());
  for (int64_t t = 0; t < tokens; ++t) {
    const float common = noise.bell();
    float previous = 0;
    for (int64_t c = 0; c < cols; ++c) {
      previous = 0.6f * previous + noise.bell();
      x[static_cast<size_t>(t * cols + c)] = size[static_cast<size_t>(c)] * (previous + 0.7f * common);
    }
  }
  return x;
}

// X^T X / tokens, summed in fp64.
inline Array gram(const Array& x, int64_t cols) {
  const auto tokens = static_cast<int64_t>(x.size()) / cols;
  std::vector<double> sum(static_cast<size_t>(cols * cols), 0.0);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* row = x.data() + t * cols;
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t j = 0; j <= i; ++j) sum[static_cast<size_t>(i * cols + j)] += static_cast<double>(row[i]) * row[j];
    }
  }
  Array h(sum.size());
  for (int64_t i = 0; i < cols; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const auto value = static_cast<float>(sum[static_cast<size_t>(i * cols + j)] / static_cast<double>(tokens));
      h[static_cast<size_t>(i * cols + j)] = h[static_cast<size_t>(j * cols + i)] = value;
    }
  }
  return h;
}

inline Array hessian(int64_t cols, uint64_t seed) {
  return gram(inputs(3 * cols, cols, seed), cols);
}

// tr((W - Q) H (W - Q)^T)
inline double output_error(const Array& w, const Array& q, const Array& h, int64_t cols) {
  double sum = 0;
  for (size_t row = 0; row < w.size(); row += static_cast<size_t>(cols)) {
    for (int64_t i = 0; i < cols; ++i) {
      double inner = 0;
      for (int64_t j = 0; j < cols; ++j) {
        const auto at = row + static_cast<size_t>(j);
        inner += static_cast<double>(h[static_cast<size_t>(i * cols + j)]) * (static_cast<double>(w[at]) - q[at]);
      }
      const auto at = row + static_cast<size_t>(i);
      sum += inner * (static_cast<double>(w[at]) - q[at]);
    }
  }
  return sum;
}

}  // namespace gridquant::quant::samples
