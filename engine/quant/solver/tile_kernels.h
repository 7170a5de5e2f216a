// The vector loops of the solvers on a transposed tile (solver/row_tile.h). The same bits on every machine: lanes are
// rows, columns are taken in order, multiply then add or subtract (fused only where panel/panel.h says so), true
// division, rint, clamp.
#pragma once

#include <cstdint>
#include <span>

#include "engine/quant/panel/panel.h"

namespace gridquant::quant {

// One column of a tile: its weights, the grid they are rounded to, where their codes go. kTileRows of each.
struct TileColumn {
  const float* weights;
  const float* scale;
  const float* zero;
  uint8_t* codes;
};

// GPTQ inside a block of columns, in the order of the solve. Column j of `targets` first loses every earlier column's
// error, t_j -= err_i * A_ij for i = 0 .. j - 1 in that order (fused), is then rounded to q_j, and is replaced by its
// own error, q_j - w_j, w_j being the weight.
struct GptqBlock {
  float* targets;         // a panel: [columns][kTileRows]
  Coefficients feedback;  // of target j and step i < j: A_ij
  std::span<const TileColumn> columns;
  float max_code;
};
void solve_block(const GptqBlock& block);

// Rounds each column's weights to its grid, no feedback.
void round_columns(std::span<const TileColumn> columns, float max_code);

// Per row: error[r] += sum over columns of importance * (w - dequantized)^2, energy[r] += sum of importance * w^2. fp32
// within up to 64 columns, fp64 across.
struct TileError {
  double* error;   // [kTileRows]
  double* energy;  // [kTileRows]
};
void measure_columns(std::span<const TileColumn> columns, const float* importance, TileError out);

}  // namespace gridquant::quant
