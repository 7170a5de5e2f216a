// GPTQ on row tiles: columns in the factor's order, blocks of 128. Before a block is solved it receives the errors of
// all columns before it in one deep product (a right-looking update would touch the whole rest of the tile each time).
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/quant/factor/blas.h"
#include "engine/quant/solver.h"
#include "engine/quant/solver/solve_tiles.h"

namespace gridquant::quant {
namespace {

constexpr int64_t kBlockColumns = 128;

// The diagonal blocks of A transposed, one below the other: the kernel walks down A's columns. [K][kBlockColumns]
tensor::Buffer transpose_diagonal_blocks(tensor::Matrix<const float> a) {
  tensor::Buffer out(static_cast<size_t>(a.rows * kBlockColumns) * sizeof(float));
  auto* to = reinterpret_cast<float*>(out.data());
  for (int64_t j = 0; j < a.rows; ++j) {
    const int64_t begin = j / kBlockColumns * kBlockColumns;
    for (int64_t i = begin; i < j; ++i) to[j * kBlockColumns + i - begin] = a.row(i)[j];
  }
  return out;
}

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
  const float* feedback_t;
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
      if (begin > 0) {
        blas::subtract_at_b({count, kTileRows, begin}, {feedback.data + begin, feedback.stride}, {own.at(0), kTileRows},
                            {own.at(begin), kTileRows});
      }
      solve_block({own.at(begin), feedback_t + begin * kBlockColumns, kBlockColumns,
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
  blas::use_one_thread();
  const tensor::Matrix<const float> feedback = factor.feedback.matrix<float>();
  const tensor::Buffer feedback_t = transpose_diagonal_blocks(feedback);
  const Solve solve{factor, feedback, reinterpret_cast<const float*>(feedback_t.data()),
                    static_cast<float>(options.grid.max_code())};
  std::vector<std::unique_ptr<Scratch>> scratch(static_cast<size_t>(pool.threads()));
  const RoundTile round = [&](RowTile& tile, std::span<const TileColumn> columns, int thread) {
    auto& own = scratch[static_cast<size_t>(thread)];
    if (!own) own = std::make_unique<Scratch>(w.cols);
    solve.run(tile, columns, *own);
  };
  return solve_tiles({w, factor.diagonal, factor.dead}, options, round, pool);
}

}  // namespace gridquant::quant
