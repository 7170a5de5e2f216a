// Inside engine/ops only: a tile of X^T X from bf16 rows by AVX512-BF16's own instruction. Both operands are columns of
// the same matrix, which a general product packs twice, for every tile, in two ways; here packing is one cheap
// interleaving (measured on Zen 5: 365 GFLOP/s of the library's 550 through oneDNN, see bench_forward for today's).
// CPUs with AMX are better served by the library.
#pragma once

#include <cstdint>

#include "engine/ops/operand.h"
#include "engine/ops/product.h"

namespace gridquant::ops {

// True where the CPU has the instruction and the library does not have something better.
bool has_gram_bf16_kernel();

// Columns [r0, r0 + rows) against columns [c0, c0 + cols) of x.
struct GramTile {
  int64_t r0 = 0, rows = 0, c0 = 0, cols = 0;
  bool diagonal() const { return r0 == c0; }
};

// sum [tile.rows, tile.cols], dense = X[:, r0...]^T X[:, c0...] over all rows of x, which is of kBF16. For a tile on
// the diagonal what lies below it is not written. Precondition: has_gram_bf16_kernel().
void gram_bf16_tile(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace);

}  // namespace gridquant::ops
