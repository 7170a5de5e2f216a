// Conformance rows of the vectorised ops.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "engine/ops/add.h"
#include "engine/ops/gelu_mul.h"
#include "engine/ops/head_tiles.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/rope.h"
#include "engine/ops/silu_mul.h"
#include "engine/ops/soft_cap.h"
#include "tests/conformance/ops/table.h"

namespace gridquant::ops {
namespace {

double relative_limit(Compute compute) {
  return compute == Compute::kBF16 ? kBf16HalfStep * 1.001 : 1e-6;
}

// dims: rows, cols
void check_rms_norm(Compute compute, const std::vector<int64_t>& d) {
  const int64_t rows = d[0], cols = d[1];
  const float eps = 1e-5f;
  std::vector<float> x = random_floats(rows * cols, 1, 3.0f);
  const std::vector<float> weight = random_floats(cols, 2);
  const OperandBuffer out(compute, rows, cols);
  ASSERT_TRUE(rms_norm(matrix_of(x, rows, cols), weight, eps, out.view()).ok());
  for (int64_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (int64_t c = 0; c < cols; ++c) squares += std::pow(x[static_cast<size_t>(r * cols + c)], 2.0);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(eps));
    for (int64_t c = 0; c < cols; ++c) {
      const double want = x[static_cast<size_t>(r * cols + c)] * scale * weight[static_cast<size_t>(c)];
      ASSERT_NEAR(value_at(out.view(), r, c), want, relative_limit(compute) * std::fabs(want)) << r << ", " << c;
    }
  }
}

// dims: rows, cols
void check_silu_mul(Compute compute, const std::vector<int64_t>& d) {
  const int64_t rows = d[0], cols = d[1];
  std::vector<float> gate = random_floats(rows * cols, 3, 8.0f);
  std::vector<float> up = random_floats(rows * cols, 4);
  if (!gate.empty()) gate[0] = -90.0f;  // exp(90) is near the end of fp32
  if (gate.size() > 2) gate[1] = 200.0f, gate[2] = -200.0f;
  const OperandBuffer out(compute, rows, cols);
  ASSERT_TRUE(silu_mul(matrix_of(gate, rows, cols), matrix_of(up, rows, cols), out.view()).ok());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const double g = gate[static_cast<size_t>(r * cols + c)];
      const double want = g / (1.0 + std::exp(-g)) * static_cast<double>(up[static_cast<size_t>(r * cols + c)]);
      const double relative = relative_limit(compute) + (compute == Compute::kBF16 ? 3e-4 : 0);
      ASSERT_NEAR(value_at(out.view(), r, c), want, relative * std::fabs(want) + 1e-35) << g;
    }
  }
}

// dims: rows, cols
void check_gelu_mul(Compute compute, const std::vector<int64_t>& d) {
  const int64_t rows = d[0], cols = d[1];
  std::vector<float> gate = random_floats(rows * cols, 3, 4.0f);
  std::vector<float> up = random_floats(rows * cols, 4);
  if (gate.size() > 4) gate[0] = 1e13f, gate[1] = -1e13f, gate[2] = 0.0f, gate[3] = 1e-20f, gate[4] = -30.0f;
  const OperandBuffer out(compute, rows, cols);
  ASSERT_TRUE(gelu_mul(matrix_of(gate, rows, cols), matrix_of(up, rows, cols), out.view()).ok());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const double g = gate[static_cast<size_t>(r * cols + c)], u = up[static_cast<size_t>(r * cols + c)];
      const double argument = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
      const double want = g / (1 + std::exp(-2 * argument)) * u;
      const double relative = compute == Compute::kBF16 ? kBf16HalfStep * 1.001 : 2e-6;
      const double absolute = argument > -10 ? 1e-35 : 1e-12;
      // The argument is rounded to fp32: where it is large and negative that shows in the exponential.
      ASSERT_NEAR(value_at(out.view(), r, c), want, relative * std::fabs(want) + absolute * std::fabs(u)) << g;
    }
  }
}

// dims: rows, cols
void check_soft_cap(Compute, const std::vector<int64_t>& d) {
  const int64_t rows = d[0], cols = d[1];
  for (const float cap : {0.5f, 30.0f}) {
    std::vector<float> x = random_floats(rows * cols, 9, 20.0f);
    if (x.size() > 5) x[0] = 0.0f, x[1] = 1e-20f, x[2] = 1e30f, x[3] = -1e30f, x[4] = cap * 0.2499f, x[5] = cap * 0.25f;
    const std::vector<float> before = x;
    ASSERT_TRUE(soft_cap(cap, matrix_of(x, rows, cols)).ok());
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = cap * std::tanh(static_cast<double>(before[i]) / static_cast<double>(cap));
      ASSERT_NEAR(x[i], want, 2e-6 * std::fabs(want)) << before[i];
    }
  }
}

// dims: rows of y, cols, rows of x. Exact.
void check_add(Compute, const std::vector<int64_t>& d) {
  const int64_t rows = d[0], cols = d[1], x_rows = d[2];
  std::vector<float> x = random_floats(x_rows * cols, 5);
  std::vector<float> y = random_floats(rows * cols, 6);
  const std::vector<float> before = y;
  ASSERT_TRUE(add(matrix_of(x, x_rows, cols), matrix_of(y, rows, cols)).ok());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const float from = x[static_cast<size_t>((x_rows == 1 ? 0 : r) * cols + c)];
      ASSERT_EQ(y[static_cast<size_t>(r * cols + c)], before[static_cast<size_t>(r * cols + c)] + from);
    }
  }
}

// dims: tokens, heads, heads per key/value head, head dim, rotated elements of a head
void check_rope(Compute compute, const std::vector<int64_t>& d) {
  const int64_t tokens = d[0], heads = d[1], group = d[2], dim = d[3];
  const int64_t rotated = d[4];
  const double magnitude = 1.25;
  std::vector<float> x = random_floats(tokens * heads * dim, 8);
  std::vector<float> frequencies;
  for (int64_t i = 0; i < rotated / 2; ++i) {
    frequencies.push_back(
        static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotated))));
  }
  const RopeTable table(frequencies, tokens, static_cast<float>(magnitude));
  const OperandBuffer out(compute, heads * tokens, dim);
  ASSERT_TRUE(rope(matrix_of(x, tokens, heads * dim), {dim, group}, rotated > 0 ? &table : nullptr, out.view()).ok());
  for (int64_t token = 0; token < tokens; ++token) {
    for (int64_t head = 0; head < heads; ++head) {
      const float* from = x.data() + (token * heads + head) * dim;
      for (int64_t c = 0; c < dim; ++c) {
        const int64_t half = rotated / 2;
        double want = from[c], length = 0;
        if (c < rotated) {
          const int64_t pair = c % half;
          const double low = from[pair], high = from[pair + half];
          const double angle = static_cast<double>(token) * static_cast<double>(frequencies[static_cast<size_t>(pair)]);
          want = magnitude * (c < half ? low * std::cos(angle) - high * std::sin(angle)
                                       : high * std::cos(angle) + low * std::sin(angle));
          length = magnitude * std::hypot(low, high);
        }
        // The table's angles are rounded to fp32, which at position p is worth p * 2^-24 or so.
        const double limit = length * (1e-6 + 1e-7 * static_cast<double>(token + 1)) +
                             (compute == Compute::kBF16 ? std::fabs(want) * kBf16HalfStep : 0);
        ASSERT_NEAR(value_at(out.view(), head_row(group, tokens, head, token), c), want, limit)
            << "token " << token << " head " << head << " element " << c;
      }
    }
  }
}

// dims: tokens, head dim. Values are laid out only, so that every bit is known: how a bf16 is rounded.
void check_rope_rounding(Compute compute, const std::vector<int64_t>& d) {
  const int64_t tokens = d[0], dim = d[1];
  std::vector<float> x = random_floats(tokens * dim, 12, 3.0f);
  const std::vector<float> special = {0.0f,      -0.0f,    INFINITY,          -INFINITY,         NAN,
                                      3.4e38f,   -3.4e38f, 1.0f + 1 / 256.0f, 1.0f + 3 / 256.0f, 1.18e-38f,
                                      -1.0f / 3, 65535.0f};
  for (size_t i = 0; i < x.size(); i += 3) x[i] = special[(i / 3) % special.size()];
  const OperandBuffer out(compute, tokens, dim);
  ASSERT_TRUE(rope(matrix_of(x, tokens, dim), {dim, 1}, nullptr, out.view()).ok());
  for (size_t i = 0; i < x.size(); ++i) {
    if (compute == Compute::kBF16) {
      ASSERT_EQ(out.view().bf16().data[i].bits, tensor::to_bf16(x[i]).bits) << x[i];
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(out.view().f32().data[i]), std::bit_cast<uint32_t>(x[i])) << x[i];
    }
  }
}

}  // namespace

std::vector<Row> elementwise_rows() {
  return {
      {"rms_norm", "no_rows", check_rms_norm, {0, 8}},
      {"rms_norm", "one", check_rms_norm, {1, 1}},
      {"rms_norm", "odd", check_rms_norm, {3, 31}},
      {"rms_norm", "lanes", check_rms_norm, {4, 64}},
      {"rms_norm", "wide", check_rms_norm, {2, 4099}},
      {"rms_norm", "many", check_rms_norm, {13, 576}},
      {"silu_mul", "no_rows", check_silu_mul, {0, 8}},
      {"silu_mul", "one", check_silu_mul, {1, 1}},
      {"silu_mul", "odd", check_silu_mul, {7, 29}},
      {"silu_mul", "many", check_silu_mul, {50, 1000}},
      {"add", "no_rows", check_add, {0, 3, 1}},
      {"add", "one", check_add, {1, 1, 1}},
      {"add", "bias", check_add, {5, 33, 1}},
      {"add", "matrix", check_add, {5, 47, 5}},
      {"rope", "no_tokens", check_rope, {0, 2, 1, 8, 8}},
      {"rope", "one", check_rope, {1, 1, 1, 2, 2}},
      {"rope", "odd_half", check_rope, {5, 3, 3, 10, 10}},
      {"rope", "grouped", check_rope, {130, 6, 2, 64, 64}},
      {"rope", "values", check_rope, {67, 2, 1, 48, 0}},
      {"rope", "wide_head", check_rope, {9, 2, 2, 160, 160}},
      {"rope", "part_of_head", check_rope, {37, 4, 2, 96, 72}},
      {"rope", "rounding", check_rope_rounding, {7, 64}},
      {"rope", "rounding_odd", check_rope_rounding, {7, 55}},
      {"gelu_mul", "no_rows", check_gelu_mul, {0, 8}},
      {"gelu_mul", "one", check_gelu_mul, {1, 1}},
      {"gelu_mul", "odd", check_gelu_mul, {7, 29}},
      {"gelu_mul", "many", check_gelu_mul, {50, 1000}},
      {"soft_cap", "no_rows", check_soft_cap, {0, 8}},
      {"soft_cap", "one", check_soft_cap, {1, 1}},
      {"soft_cap", "odd", check_soft_cap, {7, 1001}},
  };
}

}  // namespace gridquant::ops
