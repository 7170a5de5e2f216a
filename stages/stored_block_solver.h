// One block solved from what calibrate stored, without a forward pass: rounded to nearest with the diagonals, or by
// GPTQ with the Hessians. Every block may be solved by itself, because all is of the unquantized model.
#pragma once

#include <optional>

#include "stages/site_solver.h"
#include "stages/site_statistics.h"
#include "stages/stored_hessians.h"

namespace gridquant::stages {

class StoredBlockSolver {
 public:
  struct Borrowed {
    comm::Communicator& comm;
    device::ThreadPool& pool;
    PhaseTimes& times;
  };
  // `calibration` is the artifact of calibrate. FailedPrecondition: the plan says gptq, and it has no Hessians.
  static StatusOr<StoredBlockSolver> open(base::Env& env, const std::string& calibration, const ModelSource& source,
                                          const Plan& plan, const Borrowed& borrowed);

  // The result is the same on all ranks.
  StatusOr<QuantizedBlock> solve(LoadedBlock loaded);

  // Of what the result depends on beside the statistics; "" for rounding.
  std::string digest() const { return hessians_ ? hessians_->digest() : ""; }

 private:
  StoredBlockSolver(const ModelSource& source, const Plan& plan, StatisticsReader statistics, const Borrowed& borrowed)
      : source_(&source),
        borrowed_(borrowed),
        statistics_(std::move(statistics)),
        solver_(plan, borrowed.comm, borrowed.pool, borrowed.times) {}
  Status round_site(const model::SiteSpec& site, LoadedBlock& loaded, QuantizedBlock& result);
  Status solve_part(const HessianPart& part, const model::SiteSpec& site, LoadedBlock& loaded, QuantizedBlock& result);
  StatusOr<std::vector<float>> pooled_diagonal(int64_t b, const model::SiteSpec& site) const;

  const ModelSource* source_;
  Borrowed borrowed_;
  StatisticsReader statistics_;
  std::optional<StoredHessians> hessians_;  // for gptq
  SiteSolver solver_;
};

}  // namespace gridquant::stages
