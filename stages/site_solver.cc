// One site's weights: factor, solve, doubt, fall back.
#include "stages/site_solver.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "stages/hessian_error.h"

namespace gridquant::stages {
namespace {

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

void keep(const std::string& name, quant::SolveResult solved, int64_t block, QuantizedBlock& result) {
  result.layers.push_back(
      {{"block", block}, {"tensor", name}, {"relative_error", share(solved.weighted_error, solved.weight_energy)}});
  result.weights.emplace_back(name, std::move(solved.weight));
}

}  // namespace

int64_t min_tokens(int64_t columns) {
  return static_cast<int64_t>(std::ceil(kMinTokensPerColumn * static_cast<double>(columns)));
}

std::vector<float> finite_or_empty(std::vector<float> diagonal) {
  if (!std::ranges::all_of(diagonal, [](float d) { return std::isfinite(d); })) diagonal.clear();
  return diagonal;
}

std::vector<std::string> SiteSolver::planned(const std::vector<std::string>& names) const {
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    const PlannedTensor* planned = plan_.find(name);
    if (planned != nullptr && planned->quantize) chosen.push_back(name);
  }
  return chosen;
}

// Why GPTQ's result should not be used, or "". Compares with plain rounding on the same grid, by the error that GPTQ
// minimises, on a sample of rows.
std::string SiteSolver::doubt(const RowSolver& solver, const quant::SolveResult& gptq,
                                        const quant::SiteFactor& factor) {
  if (!std::isfinite(gptq.weighted_error)) return "GPTQ's error is not finite";
  const std::vector<int64_t> sample = sample_of_rows(gptq.weight.rows);
  const SampledErrors errors = sampled_errors(factor, solver.sample(), gptq.weight, sample, pool_);
  if (std::isfinite(errors.own) && errors.own <= errors.rounded) return {};
  return absl::StrFormat("GPTQ's error was %.3g times plain rounding's", errors.own / errors.rounded);
}

Status SiteSolver::solve_weight(const std::string& name, const StatusOr<quant::SiteFactor>& factor,
                                std::span<const float> diagonal, LoadedBlock& loaded, QuantizedBlock& result) {
  GQ_ASSIGN_OR_RETURN(LoadedWeight stored, loaded.take(name));
  const std::vector<int64_t> sample = sample_of_rows(factor.ok() ? stored.rows() : 0);
  GQ_ASSIGN_OR_RETURN(const RowSolver solver, RowSolver::make(comm_, std::move(stored), sample, pool_));
  std::string reason;
  quant::SolveResult solved;
  if (factor.ok()) {
    GQ_ASSIGN_OR_RETURN(solved, solver.solve([&](tensor::Matrix<const float> rows) {
      return quant::solve_gptq(rows, *factor, plan_.options, pool_);
    }));
    reason = doubt(solver, solved, *factor);
  } else {
    reason = std::string(factor.status().message());
  }
  if (!reason.empty()) {
    GQ_ASSIGN_OR_RETURN(solved, solver.solve([&](tensor::Matrix<const float> rows) {
      return quant::solve_rtn(rows, diagonal, plan_.options, pool_);
    }));
    result.fallbacks.push_back({{"tensor", name}, {"reason", reason}});
  }
  keep(name, std::move(solved), loaded.index, result);
  return absl::OkStatus();
}

Status SiteSolver::solve(const std::vector<std::string>& names, tensor::Tensor hessian, LoadedBlock& loaded,
                         QuantizedBlock& result) {
  const tensor::Matrix<float> h = hessian.matrix<float>();
  std::vector<float> diagonal(static_cast<size_t>(h.rows));
  for (int64_t i = 0; i < h.rows; ++i) diagonal[i] = h.row(i)[i];
  diagonal = finite_or_empty(std::move(diagonal));
  const StatusOr<quant::SiteFactor> factor = quant::factor_site(std::move(hessian), plan_.options, pool_);
  if (!factor.ok() && !absl::IsFailedPrecondition(factor.status())) return factor.status();
  times_.lap("factor");
  for (const std::string& name : names) {
    GQ_RETURN_IF_ERROR(annotate(solve_weight(name, factor, diagonal, loaded, result), name));
  }
  times_.lap("solve");
  return absl::OkStatus();
}

StatusOr<quant::SolveResult> SiteSolver::rounded(const std::string& name, std::span<const float> diagonal,
                                                 LoadedBlock& loaded) {
  GQ_ASSIGN_OR_RETURN(LoadedWeight stored, loaded.take(name));
  GQ_ASSIGN_OR_RETURN(const RowSolver solver, RowSolver::make(comm_, std::move(stored), {}, pool_));
  StatusOr<quant::SolveResult> solved = solver.solve(
      [&](tensor::Matrix<const float> rows) { return quant::solve_rtn(rows, diagonal, plan_.options, pool_); });
  GQ_RETURN_IF_ERROR(annotate(solved.status(), name));
  return solved;
}

Status SiteSolver::round_expert(const model::SitePart& part, int64_t columns, int64_t tokens,
                                std::span<const float> pooled, LoadedBlock& loaded, QuantizedBlock& result) {
  for (const std::string& name : planned(part.weights)) {
    GQ_ASSIGN_OR_RETURN(quant::SolveResult solved, rounded(name, pooled, loaded));
    result.fallbacks.push_back({{"tensor", name},
                                {"reason", absl::StrCat("expert ", part.expert, " saw ", tokens, " tokens, of the ",
                                                        min_tokens(columns), " that GPTQ needs")},
                                {"block", loaded.index},
                                {"expert", part.expert},
                                {"tokens", tokens}});
    keep(name, std::move(solved), loaded.index, result);
  }
  times_.lap("solve");
  return absl::OkStatus();
}

Status SiteSolver::round(const model::SitePart& part, std::span<const float> diagonal, LoadedBlock& loaded,
                         QuantizedBlock& result) {
  for (const std::string& name : planned(part.weights)) {
    GQ_ASSIGN_OR_RETURN(quant::SolveResult solved, rounded(name, diagonal, loaded));
    keep(name, std::move(solved), loaded.index, result);
  }
  times_.lap("solve");
  return absl::OkStatus();
}

}  // namespace gridquant::stages
