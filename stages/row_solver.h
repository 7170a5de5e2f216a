// One weight's rows solved over ranks: each solves its own fixed row tiles, and all get the whole result.
#pragma once

#include <functional>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/device/thread_pool.h"
#include "engine/quant/solver.h"
#include "stages/block_loop.h"

namespace gridquant::stages {

class RowSolver {
 public:
  // Takes what this rank needs of `weight`: its own rows, and the rows `sample` (numbers of rows, may be none).
  static StatusOr<RowSolver> make(comm::Communicator& comm, LoadedWeight weight, std::span<const int64_t> sample,
                                  device::ThreadPool& pool);

  using Solve = std::function<StatusOr<quant::SolveResult>(tensor::Matrix<const float> rows)>;
  // Calls `solve` with this rank's rows. The result is the whole weight's, on all ranks the same.
  StatusOr<quant::SolveResult> solve(const Solve& solve) const;
  // The sampled rows of the weight, one below the other.
  tensor::Matrix<const float> sample() const { return std::as_const(sample_).matrix<float>(); }

 private:
  explicit RowSolver(comm::Communicator& comm) : comm_(comm) {}
  StatusOr<quant::SolveResult> join(quant::SolveResult own) const;

  comm::Communicator& comm_;
  int64_t all_rows_ = 0;
  tensor::Tensor rows_;  // F32, this rank's
  tensor::Tensor sample_;
};

}  // namespace gridquant::stages
