// The vector loops of the solvers on a transposed tile (solver/row_tile.h). Exact: the same bits on every machine:
// lanes are rows, columns are taken in order, multiply then add or subtract (never fused), true division, rint, clamp.
#pragma once

#include <cstdint>
#include <span>

namespace gridquant::quant {

// Where one column's codes go and the grid they are on: kTileRows of each.
struct ColumnGrid {
  const float* scale;
  const float* zero;
  uint8_t* codes;
};

// GPTQ inside a block of columns, in the order of the solve. Column j of `w` first receives every earlier column's
// error, w_j -= err_i * U_ij for i = 0 .. j - 1 in that order, is then rounded, and is replaced by its own error,
// (w_j - q_j) / U_jj.
struct GptqBlock {
  float* w;              // [columns][kTileRows]
  const float* upper_t;  // row j holds U_0j .. U_jj
  int64_t upper_t_stride;
  std::span<const ColumnGrid> columns;
  float max_code;
};
void solve_block(const GptqBlock& block);

// Rounds each column to its grid, no feedback. `w`: [columns][kTileRows].
void round_columns(const float* w, std::span<const ColumnGrid> columns, float max_code);

// Per row: error[r] += sum over columns of importance * (w - dequantized)^2, energy[r] += sum of importance * w^2. fp32
// within up to 64 columns, fp64 across.
struct TileError {
  double* error;   // [kTileRows]
  double* energy;  // [kTileRows]
};
void measure_columns(const float* w, std::span<const ColumnGrid> columns, const float* importance, TileError out);

}  // namespace gridquant::quant
