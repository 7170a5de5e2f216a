// One block after the other, quantized: sites in execution order, every matrix product done once. All sequences stop at
// a site, its Hessian is made of their inputs, its weights are solved and replaced, and all sequences go on. At a
// routed site of a mixture that is done expert by expert, with one Hessian at a time. Over ranks: each takes its own
// sequences through the block and solves its own rows of every weight; Hessians and codes go to all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/device/thread_pool.h"
#include "stages/block_loop.h"
#include "stages/part_rows.h"
#include "stages/phase_times.h"
#include "stages/plan_file.h"
#include "stages/shard.h"
#include "stages/site_solver.h"

namespace gridquant::stages {

class BlockQuantizer {
 public:
  // `pool` may span the ranks of a machine; then `budget` gives memory that they share, and `shard` is that of one rank
  // with all sequences. `own_pool` is this rank's.
  struct Borrowed {
    device::ThreadPool& pool;
    device::ThreadPool& own_pool;
    PhaseTimes& times;
    ActivationBudget& budget;
    const Shard& shard;
  };
  // Buffers for all sequences are made with the first block and used for every block.
  BlockQuantizer(const ModelSource& source, const Plan& plan, ops::Compute compute, const Borrowed& borrowed);

  // `loaded` has every weight, and raw what is kept. `hidden`, of this rank's sequences, goes from the block's input to
  // its output. The result is the same on all ranks.
  StatusOr<QuantizedBlock> quantize(LoadedBlock loaded, HiddenStates& hidden);

 private:
  struct Site {
    int index = 0;
    const model::SiteSpec* spec = nullptr;
    ops::Operand input;  // of this rank's sequences, one below the other

    // Of one sequence of `length` tokens.
    ops::Operand input_of(int64_t sequence, int64_t length) const {
      const int64_t rows = length * spec->rows_per_token;
      return input.row_range(sequence * rows, rows);
    }
  };
  ops::Operand operand(int site, const model::SiteSpec& spec, int64_t tokens);
  Status reserve(const HiddenStates& hidden, const model::Block& block);
  ActivationMemory& memory(int site) { return site % 2 == 0 ? even_ : odd_; }
  // The site's inputs of sequence `i` are not needed for a while.
  void release(const Site& site, const HiddenStates& hidden, int64_t i);
  Status begin(const model::Block& block, HiddenStates& hidden, const Site& first);
  Status advance(const model::Block& block, HiddenStates& hidden, const Site& site, const Site* next);
  Status solve_site(const Site& site, HiddenStates& hidden, LoadedBlock& loaded, QuantizedBlock& result);
  Status solve_experts(const Site& site, HiddenStates& hidden, LoadedBlock& loaded, QuantizedBlock& result);
  Status solve_rows(const std::vector<std::string>& names, const PartRows& rows, LoadedBlock& loaded,
                    QuantizedBlock& result);
  StatusOr<std::vector<float>> pooled_diagonal(const Site& site, HiddenStates& hidden);
  // The weights of `result` from number `first` on are the site's.
  Status set_solved(const Site& site, LoadedBlock& loaded, const QuantizedBlock& result, size_t first,
                    model::Block& block);

  const ModelSource& source_;
  ops::Compute compute_;
  device::ThreadPool& pool_;
  device::ThreadPool& own_pool_;
  PhaseTimes& times_;
  ActivationBudget& budget_;
  const Shard& shard_;
  SiteSolver solver_;
  RowGatherer gatherer_;
  ActivationMemory even_, odd_;           // inputs of sites 0, 2, ... and 1, 3, ... of all sequences
  std::vector<model::Routing> routings_;  // per sequence, of the block being quantized
  std::vector<std::unique_ptr<model::Block::Scratch>> scratch_;  // per thread
};

}  // namespace gridquant::stages
