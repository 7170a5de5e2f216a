// Rows over ranks: the cut, and the whole put together again.
#include "stages/row_solver.h"

#include <algorithm>
#include <cstddef>

#include "stages/hessian_error.h"
#include "stages/shard.h"

namespace gridquant::stages {
namespace {

using ops::Subtree;

// Rows of `rank`: whole tiles of the solver.
Subtree rows_of(int64_t rows, int rank, int ranks) {
  const int64_t tile = quant::solver_tile_rows();
  const Subtree tiles = share_of((rows + tile - 1) / tile, rank, ranks);
  const int64_t begin = std::min(rows, tiles.begin * tile);
  return {begin, std::min(rows, (tiles.begin + tiles.count) * tile) - begin};
}

// What one rank solved, and where it belongs in the whole.
struct Piece {
  Subtree rows, tiles;
};
Piece piece_of(int64_t rows, int rank, int ranks) {
  const int64_t tile = quant::solver_tile_rows();
  const Subtree own = rows_of(rows, rank, ranks);
  return {own, {own.begin / tile, (own.count + tile - 1) / tile}};
}

// The parts of a result with what they have for every row or tile.
template <typename Visit>
void for_each_part(quant::SolveResult& result, const Piece& piece, const Visit& visit) {
  const int64_t groups = result.weight.groups();
  visit(result.weight.codes, piece.rows, result.weight.cols);
  visit(result.weight.scales, piece.rows, groups);
  visit(result.weight.zeros, piece.rows, groups);
  visit(result.tiles, piece.tiles, 1);
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
  const Subtree own = rows_of(weight.rows(), comm.rank(), comm.size());
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

// Everything in one message from rank to rank: what waiting for one another costs, it costs once.
StatusOr<quant::SolveResult> RowSolver::join(quant::SolveResult own) const {
  const int ranks = comm_.size();
  const Piece whole = piece_of(all_rows_, 0, 1);
  quant::SolveResult all;
  all.unit = own.unit;
  all.weight.grid = own.weight.grid;
  all.weight.rows = all_rows_;
  all.weight.cols = own.weight.cols;
  for_each_part(all, whole, [](auto& part, const Subtree& range, int64_t each) {
    part.resize(static_cast<size_t>(range.count * each));
  });
  std::vector<size_t> counts(static_cast<size_t>(ranks));
  size_t bytes = 0, own_begin = 0;
  for (int r = 0; r < ranks; ++r) {
    if (r == comm_.rank()) own_begin = bytes;
    for_each_part(all, piece_of(all_rows_, r, ranks), [&](auto& part, const Subtree& range, int64_t each) {
      counts[static_cast<size_t>(r)] += static_cast<size_t>(range.count * each) * sizeof(part[0]);
    });
    bytes += counts[static_cast<size_t>(r)];
  }
  std::vector<std::byte> message(bytes);
  std::byte* at = message.data() + own_begin;
  for_each_part(own, piece_of(all_rows_, comm_.rank(), ranks), [&](auto& part, const Subtree& range, int64_t each) {
    const size_t length = static_cast<size_t>(range.count * each) * sizeof(part[0]);
    std::copy_n(reinterpret_cast<const std::byte*>(part.data()), length, at);
    at += length;
  });
  own = {};
  GQ_RETURN_IF_ERROR(comm_.all_gather(message, counts));
  at = message.data();
  for (int r = 0; r < ranks; ++r) {
    for_each_part(all, piece_of(all_rows_, r, ranks), [&](auto& part, const Subtree& range, int64_t each) {
      const size_t length = static_cast<size_t>(range.count * each) * sizeof(part[0]);
      std::copy_n(at, length, reinterpret_cast<std::byte*>(part.data() + range.begin * each));
      at += length;
    });
  }
  all.add_up();
  return all;
}

}  // namespace gridquant::stages
