// The weights of one site, or of one expert of it, solved with the site's Hessian and compared with plain rounding.
// Each rank solves its own rows, and all get the codes. Not here: where the Hessian comes from.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/device/thread_pool.h"
#include "engine/model/site_parts.h"
#include "stages/block_loop.h"
#include "stages/phase_times.h"
#include "stages/plan_file.h"
#include "stages/row_solver.h"

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

// `diagonal`, or nothing where it is not finite: then all columns count alike.
std::vector<float> finite_or_empty(std::vector<float> diagonal);

class SiteSolver {
 public:
  // All borrowed.
  SiteSolver(const Plan& plan, comm::Communicator& comm, device::ThreadPool& pool, PhaseTimes& times)
      : plan_(plan), comm_(comm), pool_(pool), times_(times) {}

  // Those of `names` that the plan quantizes.
  std::vector<std::string> planned(const std::vector<std::string>& names) const;

  // Each of `names` with GPTQ, or rounded to nearest where that fails or is no better. `hessian` is [K, K] F32,
  // symmetric; its memory becomes the factor's. Takes the weights out of `loaded`.
  Status solve(const std::vector<std::string>& names, tensor::Tensor hessian, LoadedBlock& loaded,
               QuantizedBlock& result);

  // An expert that saw too few `tokens`: with the diagonal of all experts (empty: all columns count alike).
  Status round_expert(const model::SitePart& part, int64_t columns, int64_t tokens, std::span<const float> pooled,
                      LoadedBlock& loaded, QuantizedBlock& result);

  // Rounded to nearest because the plan says so.
  Status round(const model::SitePart& part, std::span<const float> diagonal, LoadedBlock& loaded,
               QuantizedBlock& result);

 private:
  StatusOr<quant::SolveResult> rounded(const std::string& name, std::span<const float> diagonal, LoadedBlock& loaded);
  Status solve_weight(const std::string& name, const StatusOr<quant::SiteFactor>& factor,
                      std::span<const float> diagonal, LoadedBlock& loaded, QuantizedBlock& result);
  std::string doubt(const RowSolver& solver, const quant::SolveResult& gptq, const quant::SiteFactor& factor);

  const Plan& plan_;
  comm::Communicator& comm_;
  device::ThreadPool& pool_;
  PhaseTimes& times_;
};

}  // namespace gridquant::stages
