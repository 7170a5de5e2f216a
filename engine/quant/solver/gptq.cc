// GPTQ on row tiles: columns in the factor's order, blocks of 128. Before a block is solved it receives the errors of
// all columns before it in one deep product (a right-looking update would touch the whole rest of the tile each time).
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/quant/panel/panel.h"
#include "engine/quant/solver.h"
#include "engine/quant/solver/solve_tiles.h"

namespace gridquant::quant {
namespace {

constexpr int64_t kBlockColumns = 128;
constexpr int64_t kSteps = 512;  // of earlier errors at a time: 96 KiB, for the second-level cache

// Per thread: what each column is rounded from, in the order of the solve, replaced by its error as the solve passes
// it.
struct Scratch {
  explicit Scratch(int64_t cols)
      : errors(static_cast<size_t>(cols * kTileRows) * sizeof(float)), columns(static_cast<size_t>(cols)) {}
  float* at(int64_t position) { return reinterpret_cast<float*>(errors.data()) + position * kTileRows; }
  tensor::Buffer errors;
  std::vector<TileColumn> columns;  // in the order of the solve
};

struct Solve {
  const SiteFactor& factor;
  tensor::Matrix<const float> feedback;
  float max_code;

  void run(RowTile& tile, std::span<const TileColumn> columns, Scratch& own) const {
    const int64_t cols = tile.cols();
    for (int64_t p = 0; p < cols; ++p) {
      const int32_t column = factor.order[static_cast<size_t>(p)];
      std::memcpy(own.at(p), tile.weights(column), kTileRows * sizeof(float));
      own.columns[static_cast<size_t>(p)] = columns[static_cast<size_t>(column)];
    }
    for (int64_t begin = 0; begin < cols; begin += kBlockColumns) {
      const int64_t count = std::min(kBlockColumns, cols - begin);
      const Coefficients rows{feedback.row(begin), feedback.stride, 1};
      for (int64_t step = 0; step < begin; step += kSteps) {
        subtract_products(own.at(begin), count, rows.from(0, step), own.at(step), std::min(kSteps, begin - step));
      }
      solve_block({own.at(begin), rows.from(0, begin),
                   std::span(own.columns).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)), max_code});
    }
  }
};

}  // namespace

StatusOr<SolveResult> solve_gptq(tensor::Matrix<const float> w, const SiteFactor& factor, const SolverOptions& options,
                                 device::ThreadPool& pool) {
  if (factor.order.size() != static_cast<size_t>(w.cols) || factor.feedback.rows() != w.cols) {
    return absl::InvalidArgumentError(
        absl::StrCat("weight has ", w.cols, " columns, its site's factor ", factor.order.size()));
  }
  const Solve solve{factor, factor.feedback.matrix<float>(), static_cast<float>(options.grid.max_code())};
  std::vector<std::unique_ptr<Scratch>> scratch(static_cast<size_t>(pool.threads()));
  const RoundTile round = [&](RowTile& tile, std::span<const TileColumn> columns, int thread) {
    auto& own = scratch[static_cast<size_t>(thread)];
    if (!own) own = std::make_unique<Scratch>(w.cols);
    solve.run(tile, columns, *own);
  };
  return solve_tiles({w, factor.diagonal, factor.dead}, options, round, pool);
}

}  // namespace gridquant::quant
