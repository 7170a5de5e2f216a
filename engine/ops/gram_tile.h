// Inside engine/ops only: a tile of X^T X by our own kernels. Both operands are columns of the same matrix, which a
// general product packs twice, for every tile, in two ways; here a chunk of rows is packed once, cheaply, into panels
// that serve as both. What that is worth on which CPU: bench/README.md.
#pragma once

#include <cstdint>

#include "engine/ops/operand.h"
#include "engine/ops/product.h"

namespace gridquant::ops {

// Columns [r0, r0 + rows) against columns [c0, c0 + cols) of x.
struct GramTile {
  int64_t r0 = 0, rows = 0, c0 = 0, cols = 0;
  bool diagonal() const { return r0 == c0; }
};

// Writes sum [tile.rows, tile.cols], dense = X[:, r0...]^T X[:, c0...] over all rows of x (at least one). Of a tile on
// the diagonal, what lies below it is not written. An element's sum runs over the rows in order, wherever the tiles
// begin.
using GramTileFn = void (*)(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace);

// For kF32, and for kBF16 (widened on the way) where there are no bf16 products. Fused multiply-add on AVX2 and wider:
// there the same bits at every vector width.
void gram_tile_f32(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace);

// For kBF16 on AVX512-BF16, two rows at a time.
void gram_tile_bf16(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace);

// For kBF16 on AMX, 32 rows at a time; only where has_amx_products().
void gram_tile_amx(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace);

// The kernel for x of `compute` on this CPU; null where only the library can.
GramTileFn gram_tile_for(Compute compute);

}  // namespace gridquant::ops
