// How the scale and the zero point of one group are chosen, for a whole tile of rows at once (solver/row_tile.h).
// Exact: the same bits on every machine. Scales are fp16 values before anything is measured with them: what is stored
// is what was used.
#pragma once

#include <cstdint>

#include "engine/quant/quantized_weight.h"
#include "engine/quant/solver.h"

namespace gridquant::quant {

struct GroupTile {
  const float* w;  // [cols][kTileRows]
  int64_t cols;
  const float* importance;  // [cols], what a column's squared error counts: diag(H) over its mean, or ones
};

struct GroupScales {
  float* scale;  // [kTileRows]; never 0, |scale| in [2^-24, 65504]; 1 for a group of zeros
  float* zero;   // [kTileRows]; integers; 2^(bits-1) if symmetric, else 1 .. 2^bits - 1
};

void search_group(const GroupTile& group, const GridSpec& grid, ScaleSearch search, GroupScales out);

}  // namespace gridquant::quant
