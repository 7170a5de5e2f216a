// The block loop's inner part: observe, combine, factor, solve, replace, go on. Not here: reading, writing, resuming.
#include "stages/block_quantizer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "stages/parallel.h"

namespace gridquant::stages {
namespace {

constexpr int64_t kMaxGroups = 8;

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

}  // namespace

std::vector<ops::RowGroup> row_groups(int64_t sequences, int64_t length) {
  const int64_t count = std::min(sequences, kMaxGroups);
  std::vector<ops::RowGroup> groups;
  for (int64_t g = 0; g < count; ++g) {
    const int64_t begin = g * sequences / count;
    const int64_t end = (g + 1) * sequences / count;
    groups.push_back({begin * length, (end - begin) * length});
  }
  return groups;
}

BlockQuantizer::BlockQuantizer(const ModelSource& source, const Plan& plan, ops::Compute compute,
                               device::ThreadPool& pool, PhaseTimes& times)
    : source_(source), plan_(plan), compute_(compute), pool_(pool), times_(times) {}

void BlockQuantizer::reserve(const HiddenStates& hidden, const model::Block& block) {
  if (!scratch_.empty()) return;
  const size_t rows = static_cast<size_t>(hidden.count() * hidden.length());
  const int64_t even = widest_site(source_, 0);
  const int64_t odd = widest_site(source_, 1);
  even_ = tensor::Buffer(rows * static_cast<size_t>(even) * ops::operand_size(compute_));
  odd_ = tensor::Buffer(rows * static_cast<size_t>(odd) * ops::operand_size(compute_));
  const size_t widest = static_cast<size_t>(std::max(even, odd));
  hessian_ = tensor::Buffer(widest * widest * sizeof(float));
  groups_ = row_groups(hidden.count(), hidden.length());
  for (int t = 0; t < pool_.threads(); ++t) scratch_.push_back(block.make_scratch(hidden.length()));
}

ops::Operand BlockQuantizer::operand(int site, int64_t width, int64_t rows) {
  return {compute_, site % 2 == 0 ? even_.data() : odd_.data(), rows, width, width};
}

Status BlockQuantizer::begin(const model::Block& block, HiddenStates& hidden, const Site& first) {
  return parallel(pool_, hidden.count(), [&](int64_t i, int thread) {
    const int64_t length = hidden.length();
    return block.begin(hidden.sequence(i), first.input.row_range(i * length, length), *scratch_[thread]);
  });
}

Status BlockQuantizer::advance(const model::Block& block, HiddenStates& hidden, const Site& site,
                               const ops::Operand& next) {
  return parallel(pool_, hidden.count(), [&](int64_t i, int thread) {
    const int64_t length = hidden.length();
    const int64_t row = i * length;
    const ops::Operand next_rows = next.data == nullptr ? ops::Operand{} : next.row_range(row, length);
    return block.advance(site.index, hidden.sequence(i), site.input.row_range(row, length), next_rows,
                         *scratch_[thread]);
  });
}

// Why GPTQ's result should not be used, or "". Compares with plain rounding on the same grid, by the error that GPTQ
// minimises, on a sample of rows.
StatusOr<std::string> BlockQuantizer::doubt(tensor::Matrix<const float> w, const quant::SolveResult& gptq,
                                            std::span<const float> diagonal) {
  if (!std::isfinite(gptq.weighted_error)) return std::string("GPTQ's error is not finite");
  const std::vector<int64_t> sample = HessianError::sample(w.rows);
  const tensor::Tensor rows = gather_rows(w, sample);
  GQ_ASSIGN_OR_RETURN(const quant::SolveResult rtn,
                      quant::solve_rtn(rows.matrix<float>(), diagonal, plan_.options, pool_));
  GQ_ASSIGN_OR_RETURN(const double gptq_error, error_->of(w, gptq.weight, sample));
  GQ_ASSIGN_OR_RETURN(const double rtn_error, error_->of(w, rtn.weight, sample));
  if (std::isfinite(gptq_error) && gptq_error <= rtn_error) return std::string();
  return absl::StrFormat("GPTQ's error was %.3g times plain rounding's", gptq_error / rtn_error);
}

Status BlockQuantizer::solve_weight(const std::string& name, const StatusOr<quant::SiteFactor>& factor,
                                    std::span<const float> diagonal, LoadedBlock& loaded, QuantizedBlock& result) {
  const tensor::Matrix<const float> w = std::as_const(loaded.weights.at(name)).matrix<float>();
  std::string reason;
  quant::SolveResult solved;
  if (factor.ok()) {
    GQ_ASSIGN_OR_RETURN(solved, quant::solve_gptq(w, *factor, plan_.options, pool_));
    GQ_ASSIGN_OR_RETURN(reason, doubt(w, solved, diagonal));
  } else {
    reason = std::string(factor.status().message());
  }
  if (!reason.empty()) {
    GQ_ASSIGN_OR_RETURN(solved, quant::solve_rtn(w, diagonal, plan_.options, pool_));
    result.fallbacks.push_back({{"tensor", name}, {"reason", reason}});
  }
  result.layers.push_back({{"block", loaded.index},
                           {"tensor", name},
                           {"relative_error", share(solved.weighted_error, solved.weight_energy)}});
  result.weights.emplace_back(name, std::move(solved.weight));
  return absl::OkStatus();
}

Status BlockQuantizer::solve_site(const Site& site, LoadedBlock& loaded, QuantizedBlock& result) {
  std::vector<std::string> names;
  for (const std::string& name : site.spec->weights) {
    const PlannedTensor* planned = plan_.find(name);
    if (planned != nullptr && planned->quantize) names.push_back(name);
  }
  if (names.empty()) return absl::OkStatus();
  const int64_t width = site.spec->width;
  const tensor::Matrix<float> h{reinterpret_cast<float*>(hessian_.data()), width, width, width};
  GQ_RETURN_IF_ERROR(ops::gram(site.input, groups_, pool_, h));
  times_.lap("gram");
  std::vector<float> diagonal(static_cast<size_t>(width));
  for (int64_t i = 0; i < width; ++i) diagonal[i] = h.row(i)[i];
  if (!std::all_of(diagonal.begin(), diagonal.end(), [](float d) { return std::isfinite(d); })) diagonal.clear();
  GQ_ASSIGN_OR_RETURN(HessianError error, HessianError::make(h));
  error_ = std::make_unique<HessianError>(std::move(error));
  const StatusOr<quant::SiteFactor> factor = quant::factor_site(h, plan_.options, pool_);
  if (!factor.ok() && !absl::IsFailedPrecondition(factor.status())) return factor.status();
  times_.lap("factor");
  for (const std::string& name : names) {
    GQ_RETURN_IF_ERROR(annotate(solve_weight(name, factor, diagonal, loaded, result), name));
  }
  error_.reset();
  times_.lap("solve");
  return absl::OkStatus();
}

// The solved weights go back into the F32 memory that they were read into, and from there into the block.
Status BlockQuantizer::replace_weights(const Site& site, LoadedBlock& loaded, const QuantizedBlock& result,
                                       model::Block& block) {
  GQ_RETURN_IF_ERROR(parallel(pool_, static_cast<int64_t>(result.weights.size()), [&](int64_t i, int) {
    const auto& [name, weight] = result.weights[i];
    const auto& of_site = site.spec->weights;
    if (std::find(of_site.begin(), of_site.end(), name) != of_site.end()) {
      weight.dequantize(loaded.weights.at(name).matrix<float>());
    }
    return absl::OkStatus();
  }));
  const Status status = set_weights(block, site.spec->weights, loaded, pool_);
  times_.lap("replace");
  return status;
}

StatusOr<QuantizedBlock> BlockQuantizer::quantize(LoadedBlock loaded, HiddenStates& hidden) {
  QuantizedBlock result;
  result.index = loaded.index;
  result.kept = std::move(loaded.raw);
  GQ_ASSIGN_OR_RETURN(
      const std::unique_ptr<model::Block> block,
      source_.architecture->make_block(source_.config, loaded.index, compute_, std::move(loaded.norms_and_biases)));
  reserve(hidden, *block);
  const std::vector<model::SiteSpec> specs = source_.architecture->sites(source_.config, loaded.index);
  const int64_t rows = hidden.count() * hidden.length();
  std::vector<Site> sites;
  for (size_t s = 0; s < specs.size(); ++s) {
    const int index = static_cast<int>(s);
    sites.push_back({index, &specs[s], operand(index, specs[s].width, rows)});
  }
  GQ_RETURN_IF_ERROR(begin(*block, hidden, sites.front()));
  times_.lap("forward");
  for (size_t s = 0; s < sites.size(); ++s) {
    GQ_RETURN_IF_ERROR(solve_site(sites[s], loaded, result));
    GQ_RETURN_IF_ERROR(replace_weights(sites[s], loaded, result, *block));
    GQ_RETURN_IF_ERROR(advance(*block, hidden, sites[s], s + 1 < sites.size() ? sites[s + 1].input : ops::Operand{}));
    for (const std::string& name : sites[s].spec->weights) block->drop_weight(name);
    times_.lap("forward");
  }
  return result;
}

}  // namespace gridquant::stages
