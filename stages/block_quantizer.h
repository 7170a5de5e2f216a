// One block after the other, quantized: sites in execution order, every matrix product done once. All sequences stop at
// a site, its Hessian is made of their inputs, its weights are solved and replaced, and all sequences go on. At a
// routed site of a mixture that is done expert by expert, with one Hessian at a time. Over ranks: each takes its own
// sequences through the block and solves its own rows of every weight; Hessians and codes go to all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/device/thread_pool.h"
#include "engine/model/site_parts.h"
#include "engine/ops/gram.h"
#include "stages/block_loop.h"
#include "stages/phase_times.h"
#include "stages/plan_file.h"
#include "stages/row_solver.h"
#include "stages/shard.h"

namespace gridquant::stages {

// What is to be written of one block, and what is to be told.
struct QuantizedBlock {
  int64_t index = 0;
  std::vector<std::pair<std::string, quant::QuantizedWeight>> weights;  // by tensor name
  std::vector<formats::NamedTensor> kept;                               // in their own type
  nlohmann::json layers = nlohmann::json::array();                      // {"block", "tensor", "relative_error"}
  // {"tensor", "reason"}; where an expert saw too few tokens also {"block", "expert", "tokens"}
  nlohmann::json fallbacks = nlohmann::json::array();
  nlohmann::json experts;  // of a mixture: {"block", "tokens": [tokens of each expert]}; else null
};

// An expert that saw fewer tokens than this many times its input's columns is not solved with GPTQ but rounded to
// nearest with the statistics of all experts of the site: with fewer tokens than columns its Hessian has not even full
// rank. Measured on models/small (gate and down of two blocks, tokens at random, error on other tokens relative to that
// rounding's, geometric mean): 1.16 with a quarter as many tokens as columns, 0.98 with half, 0.76 with as many, 0.61
// with twice as many.
constexpr double kMinTokensPerColumn = 1.0;
int64_t min_tokens(int64_t columns);

class BlockQuantizer {
 public:
  struct Borrowed {
    device::ThreadPool& pool;
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
  // Rows of input with their groups for the Hessian.
  struct Rows {
    ops::Operand x;
    std::vector<ops::RowGroup> groups;
  };
  ops::Operand operand(int site, const model::SiteSpec& spec, int64_t tokens);
  Status reserve(const HiddenStates& hidden, const model::Block& block);
  ActivationMemory& memory(int site) { return site % 2 == 0 ? even_ : odd_; }
  // The site's inputs of sequence `i` are not needed for a while.
  void release(const Site& site, const HiddenStates& hidden, int64_t i);
  Status begin(const model::Block& block, HiddenStates& hidden, const Site& first);
  Status advance(const model::Block& block, HiddenStates& hidden, const Site& site, const Site* next);
  std::vector<std::string> planned(const std::vector<std::string>& names) const;
  Status solve_site(const Site& site, HiddenStates& hidden, LoadedBlock& loaded, QuantizedBlock& result);
  Status solve_experts(const Site& site, HiddenStates& hidden, LoadedBlock& loaded, QuantizedBlock& result);
  Status solve_rows(const std::vector<std::string>& names, const Rows& rows, LoadedBlock& loaded,
                    QuantizedBlock& result);
  Status round_expert(const model::SitePart& part, int64_t tokens, std::span<const float> pooled, LoadedBlock& loaded,
                      QuantizedBlock& result);
  StatusOr<Rows> gather(const Site& site, const model::SitePart& part, HiddenStates& hidden);
  StatusOr<std::vector<int64_t>> tokens_of_experts(int64_t experts) const;
  StatusOr<std::vector<float>> pooled_diagonal(const Site& site, HiddenStates& hidden);
  Status solve_weight(const std::string& name, const StatusOr<quant::SiteFactor>& factor,
                      std::span<const float> diagonal, LoadedBlock& loaded, QuantizedBlock& result);
  StatusOr<std::string> doubt(const RowSolver& solver, const quant::SolveResult& gptq, const quant::SiteFactor& factor);
  // The weights of `result` from number `first` on are the site's.
  Status set_solved(const Site& site, LoadedBlock& loaded, const QuantizedBlock& result, size_t first,
                    model::Block& block);

  const ModelSource& source_;
  const Plan& plan_;
  ops::Compute compute_;
  device::ThreadPool& pool_;
  PhaseTimes& times_;
  ActivationBudget& budget_;
  const Shard& shard_;
  ActivationMemory even_, odd_;           // inputs of sites 0, 2, ... and 1, 3, ... of all sequences
  tensor::Buffer gathered_;               // the rows of one expert
  std::vector<ops::RowGroup> groups_;     // of tokens, this rank's
  std::vector<model::Routing> routings_;  // per sequence, of the block being quantized
  std::vector<std::unique_ptr<model::Block::Scratch>> scratch_;  // per thread
};

}  // namespace gridquant::stages
