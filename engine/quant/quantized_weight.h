// The result of every solver on an affine integer grid: codes, scales, zero points.
//   w[n][k] = scale[n][k / group] * (code[n][k] - zero[n][k / group])
// Exact: the same bits on every machine. Source: quantizers.md 2.1 (GPTQ's storage), Frantar et al. 2022.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor/tensor.h"

namespace gridquant::quant {

struct GridSpec {
  int bits = 4;              // 2, 3, 4, 8
  bool symmetric = true;     // zero point 2^(bits-1) always; the scale may be negative
  int64_t group_size = 128;  // columns that share a scale; -1: the whole row

  int64_t group_columns(int64_t cols) const { return group_size == -1 ? cols : group_size; }
  int64_t group_count(int64_t cols) const { return (cols + group_columns(cols) - 1) / group_columns(cols); }
  int max_code() const { return (1 << bits) - 1; }
};

struct QuantizedWeight {
  GridSpec grid;
  int64_t rows = 0;                 // out
  int64_t cols = 0;                 // in
  std::vector<uint8_t> codes;       // [rows, cols], 0 .. 2^bits - 1
  std::vector<tensor::F16> scales;  // [rows, groups]; what is stored is what was quantized with
  std::vector<uint8_t> zeros;  // [rows, groups], true zero point (asymmetric: 1 .. 2^bits - 1, so GPTQ v1 can hold it)

  int64_t groups() const { return grid.group_count(cols); }
  // One fp32 multiplication per element, no rounding between: float(scale) * float(code - zero).
  void dequantize(tensor::Matrix<float> out) const;  // [rows, cols]
  // Plain rounding of `w` [cols] on the grid of row r: not to its codes.
  void round_row(int64_t r, const float* w, float* out) const;
};

}  // namespace gridquant::quant
