// One block after the other, quantized: sites in execution order, every matrix product done once. All sequences stop at
// a site, its Hessian is made of their inputs, its weights are solved and replaced, and all sequences go on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/device/thread_pool.h"
#include "engine/ops/gram.h"
#include "stages/block_loop.h"
#include "stages/hessian_error.h"
#include "stages/phase_times.h"
#include "stages/plan_file.h"

namespace gridquant::stages {

// What is to be written of one block, and what is to be told.
struct QuantizedBlock {
  int64_t index = 0;
  std::vector<std::pair<std::string, quant::QuantizedWeight>> weights;  // by tensor name
  std::vector<formats::NamedTensor> kept;                               // in their own type
  nlohmann::json layers = nlohmann::json::array();                      // {"block", "tensor", "relative_error"}
  nlohmann::json fallbacks = nlohmann::json::array();                   // {"tensor", "reason"}
};

class BlockQuantizer {
 public:
  // Buffers for all sequences of `hidden` are made here and used for every block. `times` is borrowed.
  BlockQuantizer(const ModelSource& source, const Plan& plan, ops::Compute compute, device::ThreadPool& pool,
                 PhaseTimes& times);

  // `loaded` has every weight as F32, and raw what is kept. `hidden` goes from the block's input to its output.
  StatusOr<QuantizedBlock> quantize(LoadedBlock loaded, HiddenStates& hidden);

 private:
  struct Site {
    int index = 0;
    const model::SiteSpec* spec = nullptr;
    ops::Operand input;
  };
  ops::Operand operand(int site, int64_t width, int64_t rows);
  void reserve(const HiddenStates& hidden, const model::Block& block);
  Status begin(const model::Block& block, HiddenStates& hidden, const Site& first);
  Status advance(const model::Block& block, HiddenStates& hidden, const Site& site, const ops::Operand& next);
  Status solve_site(const Site& site, LoadedBlock& loaded, QuantizedBlock& result);
  Status solve_weight(const std::string& name, const StatusOr<quant::SiteFactor>& factor,
                      std::span<const float> diagonal, LoadedBlock& loaded, QuantizedBlock& result);
  StatusOr<std::string> doubt(tensor::Matrix<const float> w, const quant::SolveResult& gptq,
                              std::span<const float> diagonal);
  Status replace_weights(const Site& site, LoadedBlock& loaded, const QuantizedBlock& result, model::Block& block);

  const ModelSource& source_;
  const Plan& plan_;
  ops::Compute compute_;
  device::ThreadPool& pool_;
  PhaseTimes& times_;
  tensor::Buffer even_, odd_;  // inputs of sites 0, 2, ... and 1, 3, ... of all sequences
  tensor::Buffer hessian_;
  std::vector<ops::RowGroup> groups_;
  std::vector<std::unique_ptr<model::Block::Scratch>> scratch_;  // per thread
  std::unique_ptr<HessianError> error_;                          // of the site being solved
};

// Row groups of whole sequences for the Hessian: at most eight, fixed by the data alone.
std::vector<ops::RowGroup> row_groups(int64_t sequences, int64_t length);

}  // namespace gridquant::stages
