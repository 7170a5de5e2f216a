// Sites of a block, one after the other; no site sees another's codes.
#include "stages/stored_block_solver.h"

#include <algorithm>

namespace gridquant::stages {

using nlohmann::json;

StatusOr<StoredBlockSolver> StoredBlockSolver::open(base::Env& env, const std::string& calibration,
                                                    const ModelSource& source, const Plan& plan,
                                                    const Borrowed& borrowed) {
  GQ_ASSIGN_OR_RETURN(StatisticsReader statistics, StatisticsReader::open(env, calibration));
  StoredBlockSolver solver(source, plan, std::move(statistics), borrowed);
  if (plan.solver == "rtn") return solver;
  GQ_ASSIGN_OR_RETURN(StoredHessians hessians, StoredHessians::open(env, calibration));
  solver.hessians_.emplace(std::move(hessians));
  return solver;
}

StatusOr<QuantizedBlock> StoredBlockSolver::solve(LoadedBlock loaded) {
  QuantizedBlock result;
  result.index = loaded.index;
  result.kept = std::move(loaded.raw);
  const std::vector<model::SiteSpec> sites = source_->architecture->sites(source_->config, loaded.index);
  if (!hessians_) {
    for (const model::SiteSpec& site : sites) GQ_RETURN_IF_ERROR(round_site(site, loaded, result));
    return result;
  }
  std::vector<HessianPart> parts = hessians_of(*source_, loaded.index);
  const auto place = [](const HessianPart& part) { return std::pair(part.site, part.part.expert); };
  std::ranges::sort(parts, {}, place);
  for (const HessianPart& part : parts) GQ_RETURN_IF_ERROR(solve_part(part, sites[part.site], loaded, result));
  return result;
}

// What calibrate measured for every part; for an expert that saw too few tokens, what it measured for all experts.
Status StoredBlockSolver::round_site(const model::SiteSpec& site, LoadedBlock& loaded, QuantizedBlock& result) {
  json tokens = json::array();
  for (const model::SitePart& part : model::parts_of(site)) {
    std::vector<float> diagonal;
    if (!statistics_.empty()) {
      bool starved = false;
      if (part.expert >= 0) {
        GQ_ASSIGN_OR_RETURN(const int64_t count, statistics_.tokens(loaded.index, part));
        tokens.push_back(count);
        starved = count < min_tokens(site.width);
      }
      GQ_ASSIGN_OR_RETURN(
          diagonal, starved ? pooled_diagonal(loaded.index, site) : statistics_.diagonal(loaded.index, {&part, 1}));
    }
    GQ_RETURN_IF_ERROR(solver_.round(part, diagonal, loaded, result));
  }
  if (!tokens.empty()) result.experts = {{"block", loaded.index}, {"tokens", std::move(tokens)}};
  return absl::OkStatus();
}

StatusOr<std::vector<float>> StoredBlockSolver::pooled_diagonal(int64_t b, const model::SiteSpec& site) const {
  return statistics_.diagonal(b, model::parts_of(site));
}

Status StoredBlockSolver::solve_part(const HessianPart& part, const model::SiteSpec& site, LoadedBlock& loaded,
                                     QuantizedBlock& result) {
  GQ_ASSIGN_OR_RETURN(const int64_t rows, hessians_->rows(part));
  if (part.part.expert == 0) result.experts = {{"block", loaded.index}, {"tokens", json::array()}};
  if (part.part.expert >= 0) result.experts["tokens"].push_back(rows);
  const std::vector<std::string> names = solver_.planned(part.part.weights);
  if (names.empty()) return absl::OkStatus();
  if (part.part.expert >= 0 && rows < min_tokens(site.width)) {
    GQ_ASSIGN_OR_RETURN(std::vector<float> pooled, pooled_diagonal(loaded.index, site));
    pooled = finite_or_empty(std::move(pooled));
    return solver_.round_expert(part.part, site.width, rows, pooled, loaded, result);
  }
  GQ_ASSIGN_OR_RETURN(tensor::Tensor hessian, hessians_->read(loaded.index, part, borrowed_.pool));
  borrowed_.times.lap("read");
  return solver_.solve(names, std::move(hessian), loaded, result);
}

}  // namespace gridquant::stages
