// Round to nearest: every column to its grid, no feedback.
#include "engine/quant/solver.h"
#include "engine/quant/solver/solve_tiles.h"

namespace gridquant::quant {

StatusOr<SolveResult> solve_rtn(tensor::Matrix<const float> w, std::span<const float> diagonal,
                                const SolverOptions& options, device::ThreadPool& pool) {
  const auto max_code = static_cast<float>(options.grid.max_code());
  const RoundTile round = [max_code](RowTile&, std::span<const TileColumn> columns, int) {
    round_columns(columns, max_code);
  };
  return solve_tiles({w, diagonal, {}}, options, round, pool);
}

}  // namespace gridquant::quant
