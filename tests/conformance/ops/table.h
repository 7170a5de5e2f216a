// The conformance table of ops: a row makes inputs from a seed and a shape, runs the op, and compares with a plain fp64
// reference within the limit that the op's header states.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/ops/operand.h"

namespace gridquant::ops {

struct Row {
  const char* op;
  std::string shape;  // for the test's name
  void (*check)(Compute compute, const std::vector<int64_t>& dims);
  std::vector<int64_t> dims;
};

std::vector<Row> product_rows();      // linear, gram, attention
std::vector<Row> elementwise_rows();  // rms_norm, rope, silu_mul, gelu_mul, soft_cap, add

// Half a step of bf16, relative.
constexpr double kBf16HalfStep = 1.0 / 256;

// What goes into an op and the same values in fp64, as the op sees them (rounded for kBF16).
struct Input {
  OperandBuffer operand;
  std::vector<double> values;
  double at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * operand.view().cols + c)]; }
};

inline std::vector<float> random_floats(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = normal(random);
  return values;
}

inline Input make_input(Compute compute, int64_t rows, int64_t cols, uint32_t seed) {
  Input input{OperandBuffer(compute, rows, cols), {}};
  const std::vector<float> floats = random_floats(rows * cols, seed);
  for (size_t i = 0; i < floats.size(); ++i) {
    if (compute == Compute::kBF16) {
      const tensor::BF16 rounded = tensor::to_bf16(floats[i]);
      input.operand.view().bf16().data[i] = rounded;
      input.values.push_back(tensor::to_float(rounded));
    } else {
      input.operand.view().f32().data[i] = floats[i];
      input.values.push_back(floats[i]);
    }
  }
  return input;
}

// Element (r, c) of an operand, and a matrix over a vector.
inline double value_at(const Operand& x, int64_t r, int64_t c) {
  return x.compute == Compute::kBF16 ? tensor::to_float(x.bf16().row(r)[c]) : x.f32().row(r)[c];
}

inline tensor::Matrix<float> matrix_of(std::vector<float>& values, int64_t rows, int64_t cols) {
  return {values.data(), rows, cols, cols};
}

}  // namespace gridquant::ops
