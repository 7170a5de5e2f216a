// What RTN and GPTQ share: rows cut into fixed tiles, scales searched first, codes and errors written, sums in tile
// order.
#pragma once

#include <functional>
#include <span>

#include "engine/quant/solver.h"
#include "engine/quant/solver/row_tile.h"
#include "engine/quant/solver/tile_kernels.h"

namespace gridquant::quant {

struct TileProblem {
  tensor::Matrix<const float> w;
  std::span<const float> diagonal;  // w.cols entries, or empty: ones
  std::span<const uint8_t> dead;    // w.cols entries, or empty: none
};

// Fills the codes of a tile whose weights are loaded and whose scales are chosen. `columns` is in original order;
// `thread` as in ThreadPool::parallel_for.
using RoundTile = std::function<void(RowTile& tile, std::span<const TileColumn> columns, int thread)>;

StatusOr<SolveResult> solve_tiles(const TileProblem& problem, const SolverOptions& options, const RoundTile& round,
                                  device::ThreadPool& pool);

}  // namespace gridquant::quant
