// Rows over ranks: the cut, and the whole put together again.
#include "stages/row_solver.h"

#include <algorithm>
#include <cstring>

#include "stages/hessian_error.h"
#include "stages/shard.h"

namespace gridquant::stages {
namespace {

// Rows of `rank`: whole tiles of the solver.
ops::Subtree rows_of(int64_t rows, int rank, int ranks) {
  const int64_t tile = quant::solver_tile_rows();
  const ops::Subtree tiles = share_of((rows + tile - 1) / tile, rank, ranks);
  const int64_t begin = std::min(rows, tiles.begin * tile);
  return {begin, std::min(rows, (tiles.begin + tiles.count) * tile) - begin};
}

// `all` is cut like the weight's rows, `per_row` items each; `own` is this rank's piece.
template <typename T>
Status gather_rows_of(comm::Communicator& comm, int64_t rows, int64_t per_row, const std::vector<T>& own,
                      std::vector<T>& all) {
  all.resize(static_cast<size_t>(rows * per_row));
  std::vector<size_t> counts;
  for (int r = 0; r < comm.size(); ++r) {
    counts.push_back(static_cast<size_t>(rows_of(rows, r, comm.size()).count * per_row) * sizeof(T));
  }
  std::ranges::copy(own, all.begin() + rows_of(rows, comm.rank(), comm.size()).begin * per_row);
  return comm.all_gather(std::as_writable_bytes(std::span(all)), counts);
}

}  // namespace

StatusOr<RowSolver> RowSolver::make(comm::Communicator& comm, LoadedWeight weight, std::span<const int64_t> sample,
                                    device::ThreadPool& pool) {
  RowSolver solver(comm);
  solver.all_rows_ = weight.rows();
  if (comm.size() == 1) {
    GQ_ASSIGN_OR_RETURN(solver.rows_, weight.take(pool));
    solver.sample_ = gather_rows(std::as_const(solver.rows_).matrix<float>(), {sample.begin(), sample.end()});
    return solver;
  }
  const ops::Subtree own = rows_of(weight.rows(), comm.rank(), comm.size());
  GQ_ASSIGN_OR_RETURN(solver.rows_, weight.rows_as_f32(own.begin, own.count));
  solver.sample_ = tensor::Tensor(tensor::DType::kF32, {static_cast<int64_t>(sample.size()), solver.rows_.dim(1)});
  for (size_t i = 0; i < sample.size(); ++i) {
    GQ_ASSIGN_OR_RETURN(const tensor::Tensor row, weight.rows_as_f32(sample[i], 1));
    std::ranges::copy(row.as<float>(), solver.sample_.matrix<float>().row(static_cast<int64_t>(i)));
  }
  return solver;
}

StatusOr<quant::SolveResult> RowSolver::solve(const Solve& solve) const {
  GQ_ASSIGN_OR_RETURN(quant::SolveResult own, solve(std::as_const(rows_).matrix<float>()));
  return comm_.size() == 1 ? std::move(own) : join(std::move(own));
}

StatusOr<quant::SolveResult> RowSolver::join(quant::SolveResult own) const {
  quant::SolveResult all;
  all.unit = own.unit;
  all.weight.grid = own.weight.grid;
  all.weight.rows = all_rows_;
  all.weight.cols = own.weight.cols;
  const int64_t groups = own.weight.groups();
  GQ_RETURN_IF_ERROR(gather_rows_of(comm_, all_rows_, own.weight.cols, own.weight.codes, all.weight.codes));
  GQ_RETURN_IF_ERROR(gather_rows_of(comm_, all_rows_, groups, own.weight.scales, all.weight.scales));
  GQ_RETURN_IF_ERROR(gather_rows_of(comm_, all_rows_, groups, own.weight.zeros, all.weight.zeros));
  std::vector<size_t> counts;
  size_t before = 0;
  const int64_t tile = quant::solver_tile_rows();
  for (int r = 0; r < comm_.size(); ++r) {
    const ops::Subtree rows = rows_of(all_rows_, r, comm_.size());
    counts.push_back(static_cast<size_t>((rows.count + tile - 1) / tile) * sizeof(quant::TileSums));
    if (r < comm_.rank()) before += counts.back() / sizeof(quant::TileSums);
  }
  all.tiles.resize(static_cast<size_t>((all_rows_ + tile - 1) / tile));
  std::ranges::copy(own.tiles, all.tiles.begin() + static_cast<int64_t>(before));
  GQ_RETURN_IF_ERROR(comm_.all_gather(std::as_writable_bytes(std::span(all.tiles)), counts));
  all.add_up();
  return all;
}

}  // namespace gridquant::stages
