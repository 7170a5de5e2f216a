// The block loop's inner part: observe, combine, factor, solve, replace, go on. Not here: reading, writing, resuming.
#include "stages/block_quantizer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "stages/hessian_error.h"
#include "stages/parallel.h"
#include "stages/site_statistics.h"

namespace gridquant::stages {
namespace {

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

std::vector<float> finite_or_empty(std::vector<float> diagonal) {
  if (!std::ranges::all_of(diagonal, [](float d) { return std::isfinite(d); })) diagonal.clear();
  return diagonal;
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

BlockQuantizer::BlockQuantizer(const ModelSource& source, const Plan& plan, ops::Compute compute,
                               const Borrowed& borrowed)
    : source_(source),
      plan_(plan),
      compute_(compute),
      pool_(borrowed.pool),
      times_(borrowed.times),
      budget_(borrowed.budget),
      shard_(borrowed.shard) {}

Status BlockQuantizer::reserve(const HiddenStates& hidden, const model::Block& block) {
  if (!scratch_.empty()) return absl::OkStatus();
  const size_t rows = static_cast<size_t>(hidden.count() * hidden.length());
  const auto input_bytes = [&](const WidestSite& site) {
    return rows * static_cast<size_t>(site.per_token) * ops::operand_size(compute_);
  };
  GQ_ASSIGN_OR_RETURN(even_, budget_.make("even-inputs", input_bytes(widest_site(source_, 0))));
  GQ_ASSIGN_OR_RETURN(odd_, budget_.make("odd-inputs", input_bytes(widest_site(source_, 1))));
  groups_ = shard_.own_groups();
  routings_.resize(static_cast<size_t>(hidden.count()));
  for (int t = 0; t < pool_.threads(); ++t) scratch_.push_back(block.make_scratch(hidden.length()));
  return absl::OkStatus();
}

ops::Operand BlockQuantizer::operand(int site, const model::SiteSpec& spec, int64_t tokens) {
  return {compute_, memory(site).data(), tokens * spec.rows_per_token, spec.width, spec.width};
}

void BlockQuantizer::release(const Site& site, const HiddenStates& hidden, int64_t i) {
  const int64_t elements = hidden.length() * site.spec->rows_per_token * site.input.stride;
  const size_t bytes = static_cast<size_t>(elements) * ops::operand_size(compute_);
  memory(site.index).release(static_cast<size_t>(i) * bytes, bytes);
}

Status BlockQuantizer::begin(const model::Block& block, HiddenStates& hidden, const Site& first) {
  return parallel(pool_, hidden.count(), [&](int64_t i, int thread) -> Status {
    GQ_RETURN_IF_ERROR(
        block.begin(hidden.sequence(i, &routings_[i]), first.input_of(i, hidden.length()), *scratch_[thread]));
    hidden.release(i);
    release(first, hidden, i);
    return absl::OkStatus();
  });
}

Status BlockQuantizer::advance(const model::Block& block, HiddenStates& hidden, const Site& site, const Site* next) {
  return parallel(pool_, hidden.count(), [&](int64_t i, int thread) -> Status {
    const int64_t length = hidden.length();
    const ops::Operand next_rows = next == nullptr ? ops::Operand{} : next->input_of(i, length);
    GQ_RETURN_IF_ERROR(block.advance(site.index, hidden.sequence(i, &routings_[i]), site.input_of(i, length), next_rows,
                                     *scratch_[thread]));
    hidden.release(i);
    release(site, hidden, i);
    if (next != nullptr) release(*next, hidden, i);
    return absl::OkStatus();
  });
}

// Why GPTQ's result should not be used, or "". Compares with plain rounding on the same grid, by the error that GPTQ
// minimises, on a sample of rows.
StatusOr<std::string> BlockQuantizer::doubt(const RowSolver& solver, const quant::SolveResult& gptq,
                                            const quant::SiteFactor& factor) {
  if (!std::isfinite(gptq.weighted_error)) return std::string("GPTQ's error is not finite");
  const std::vector<int64_t> sample = sample_of_rows(gptq.weight.rows);
  const tensor::Matrix<const float> rows = solver.sample();
  GQ_ASSIGN_OR_RETURN(const quant::SolveResult rtn, quant::solve_rtn(rows, factor.diagonal, plan_.options, pool_));
  const double gptq_error = sampled_error(factor, rows, gptq.weight, sample, pool_);
  const double rtn_error = sampled_error(factor, rows, rtn.weight, sample, pool_);
  if (std::isfinite(gptq_error) && gptq_error <= rtn_error) return std::string();
  return absl::StrFormat("GPTQ's error was %.3g times plain rounding's", gptq_error / rtn_error);
}

Status BlockQuantizer::solve_weight(const std::string& name, const StatusOr<quant::SiteFactor>& factor,
                                    std::span<const float> diagonal, LoadedBlock& loaded, QuantizedBlock& result) {
  GQ_ASSIGN_OR_RETURN(LoadedWeight stored, loaded.take(name));
  const std::vector<int64_t> sample = sample_of_rows(factor.ok() ? stored.rows() : 0);
  GQ_ASSIGN_OR_RETURN(const RowSolver solver, RowSolver::make(shard_.comm(), std::move(stored), sample, pool_));
  std::string reason;
  quant::SolveResult solved;
  if (factor.ok()) {
    GQ_ASSIGN_OR_RETURN(solved, solver.solve([&](tensor::Matrix<const float> rows) {
      return quant::solve_gptq(rows, *factor, plan_.options, pool_);
    }));
    GQ_ASSIGN_OR_RETURN(reason, doubt(solver, solved, *factor));
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

std::vector<std::string> BlockQuantizer::planned(const std::vector<std::string>& names) const {
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    const PlannedTensor* planned = plan_.find(name);
    if (planned != nullptr && planned->quantize) chosen.push_back(name);
  }
  return chosen;
}

Status BlockQuantizer::solve_site(const Site& site, HiddenStates& hidden, LoadedBlock& loaded, QuantizedBlock& result) {
  if (site.spec->experts > 0) return solve_experts(site, hidden, loaded, result);
  return solve_rows(planned(site.spec->weights), {site.input, groups_}, loaded, result);
}

// One expert after the other: experts do not see each other's weights, so their order does not matter.
Status BlockQuantizer::solve_experts(const Site& site, HiddenStates& hidden, LoadedBlock& loaded,
                                     QuantizedBlock& result) {
  std::vector<float> pooled;
  GQ_ASSIGN_OR_RETURN(const std::vector<int64_t> tokens, tokens_of_experts(site.spec->experts));
  for (const model::SitePart& part : model::parts_of(*site.spec)) {
    const int64_t count = tokens[static_cast<size_t>(part.expert)];
    if (planned(part.weights).empty()) continue;
    if (count >= min_tokens(site.spec->width)) {
      GQ_ASSIGN_OR_RETURN(const Rows rows, gather(site, part, hidden));
      GQ_RETURN_IF_ERROR(solve_rows(planned(part.weights), rows, loaded, result));
      continue;
    }
    if (pooled.empty()) {
      GQ_ASSIGN_OR_RETURN(pooled, pooled_diagonal(site, hidden));
    }
    GQ_RETURN_IF_ERROR(round_expert(part, count, pooled, loaded, result));
  }
  result.experts = {{"block", loaded.index}, {"tokens", tokens}};
  return absl::OkStatus();
}

// Of all ranks' sequences.
StatusOr<std::vector<int64_t>> BlockQuantizer::tokens_of_experts(int64_t experts) const {
  const auto count = static_cast<size_t>(experts);
  const auto ranks = static_cast<size_t>(shard_.ranks());
  std::vector<int64_t> all(count * ranks);  // [rank, expert]
  for (size_t e = 0; e < count; ++e) {
    int64_t& own = all[static_cast<size_t>(shard_.rank()) * count + e];
    for (const model::Routing& routing : routings_) own += routing.count(static_cast<int64_t>(e));
  }
  GQ_RETURN_IF_ERROR(shard_.comm().all_gather(std::as_writable_bytes(std::span(all)),
                                              std::vector<size_t>(ranks, count * sizeof(int64_t))));
  std::vector<int64_t> tokens(count);
  for (size_t i = 0; i < all.size(); ++i) tokens[i % count] += all[i];
  return tokens;
}

Status BlockQuantizer::round_expert(const model::SitePart& part, int64_t tokens, std::span<const float> pooled,
                                    LoadedBlock& loaded, QuantizedBlock& result) {
  const int64_t needed = min_tokens(static_cast<int64_t>(pooled.size()));
  for (const std::string& name : planned(part.weights)) {
    GQ_ASSIGN_OR_RETURN(LoadedWeight stored, loaded.take(name));
    GQ_ASSIGN_OR_RETURN(const RowSolver solver, RowSolver::make(shard_.comm(), std::move(stored), {}, pool_));
    StatusOr<quant::SolveResult> solved = solver.solve(
        [&](tensor::Matrix<const float> rows) { return quant::solve_rtn(rows, pooled, plan_.options, pool_); });
    GQ_RETURN_IF_ERROR(annotate(solved.status(), name));
    result.fallbacks.push_back({{"tensor", name},
                                {"reason", absl::StrCat("expert ", part.expert, " saw ", tokens, " tokens, of the ",
                                                        needed, " that GPTQ needs")},
                                {"block", loaded.index},
                                {"expert", part.expert},
                                {"tokens", tokens}});
    keep(name, *std::move(solved), loaded.index, result);
  }
  times_.lap("solve");
  return absl::OkStatus();
}

// The rows of one expert, of all sequences, in the groups of tokens that every Hessian is summed in.
StatusOr<BlockQuantizer::Rows> BlockQuantizer::gather(const Site& site, const model::SitePart& part,
                                                      HiddenStates& hidden) {
  const int64_t length = hidden.length();
  Rows rows;
  std::vector<int64_t> begins = {0};
  for (int64_t i = 0; i < hidden.count(); ++i) {
    begins.push_back(begins.back() + model::row_count(*site.spec, part, hidden.sequence(i, &routings_[i])));
  }
  for (const ops::RowGroup& group : groups_) {
    const int64_t begin = begins[group.begin / length];
    rows.groups.push_back({begin, begins[(group.begin + group.count) / length] - begin});
  }
  const int64_t width = site.spec->width;
  const size_t bytes = static_cast<size_t>(begins.back() * width) * ops::operand_size(compute_);
  if (gathered_.size() < bytes) gathered_ = tensor::Buffer(bytes);
  rows.x = {compute_, gathered_.data(), begins.back(), width, width};
  GQ_RETURN_IF_ERROR(parallel(pool_, hidden.count(), [&](int64_t i, int) {
    model::gather_rows(*site.spec, part, hidden.sequence(i, &routings_[i]), site.input_of(i, length),
                       rows.x.row_range(begins[i], begins[i + 1] - begins[i]));
    release(site, hidden, i);
    return absl::OkStatus();
  }));
  times_.lap("gather");
  return rows;
}

// Sum of x^2 over all rows of the site's input, of all ranks, in order of sequences. Empty where it is not finite: then
// all columns count alike.
StatusOr<std::vector<float>> BlockQuantizer::pooled_diagonal(const Site& site, HiddenStates& hidden) {
  const int64_t width = site.spec->width;
  std::vector<double> squares(static_cast<size_t>(shard_.all_sequences() * width));  // [sequence, column]
  GQ_RETURN_IF_ERROR(parallel(pool_, hidden.count(), [&](int64_t i, int) {
    ColumnSums sums(width);
    sums.add(site.input_of(i, hidden.length()));
    std::ranges::copy(sums.square, squares.begin() + (shard_.first_sequence() + i) * width);
    release(site, hidden, i);
    return absl::OkStatus();
  }));
  GQ_RETURN_IF_ERROR(shard_.gather(squares, width));
  std::vector<double> all(static_cast<size_t>(width));
  for (size_t i = 0; i < squares.size(); ++i) all[i % all.size()] += squares[i];
  return finite_or_empty({all.begin(), all.end()});
}

Status BlockQuantizer::solve_rows(const std::vector<std::string>& names, const Rows& rows, LoadedBlock& loaded,
                                  QuantizedBlock& result) {
  if (names.empty()) return absl::OkStatus();
  const int64_t width = rows.x.cols;
  tensor::Tensor hessian(tensor::DType::kF32, {width, width});
  const tensor::Matrix<float> h = hessian.matrix<float>();
  GQ_RETURN_IF_ERROR(gram_over_ranks(shard_, rows.x, rows.groups, pool_, h));
  for (ActivationMemory* input : {&even_, &odd_}) {
    if (rows.x.data != input->data()) continue;
    input->release(0, static_cast<size_t>(rows.x.rows * rows.x.stride) * ops::operand_size(compute_));
  }
  times_.lap("gram");
  std::vector<float> diagonal(static_cast<size_t>(width));
  for (int64_t i = 0; i < width; ++i) diagonal[i] = h.row(i)[i];
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

// The solved weights are made again from their codes, the kept ones as they are; both go into the block.
Status BlockQuantizer::set_solved(const Site& site, LoadedBlock& loaded, const QuantizedBlock& result, size_t first,
                                  model::Block& block) {
  for (size_t i = first; i < result.weights.size(); ++i) {
    const quant::QuantizedWeight& weight = result.weights[i].second;
    loaded.weights.emplace(result.weights[i].first, LoadedWeight([&weight]() -> StatusOr<tensor::Tensor> {
                             tensor::Tensor values(tensor::DType::kF32, {weight.rows, weight.cols});
                             weight.dequantize(values.matrix<float>());
                             return values;
                           }));
  }
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
  GQ_RETURN_IF_ERROR(reserve(hidden, *block));
  const std::vector<model::SiteSpec> specs = source_.architecture->sites(source_.config, loaded.index);
  const int64_t tokens = hidden.count() * hidden.length();
  std::vector<Site> sites;
  for (size_t s = 0; s < specs.size(); ++s) {
    const int index = static_cast<int>(s);
    sites.push_back({index, &specs[s], operand(index, specs[s], tokens)});
  }
  GQ_RETURN_IF_ERROR(begin(*block, hidden, sites.front()));
  times_.lap("forward");
  for (size_t s = 0; s < sites.size(); ++s) {
    const size_t first = result.weights.size();
    GQ_RETURN_IF_ERROR(solve_site(sites[s], hidden, loaded, result));
    GQ_RETURN_IF_ERROR(set_solved(sites[s], loaded, result, first, *block));
    GQ_RETURN_IF_ERROR(advance(*block, hidden, sites[s], s + 1 < sites.size() ? &sites[s + 1] : nullptr));
    for (const std::string& name : sites[s].spec->weights) block->drop_weight(name);
    times_.lap("forward");
  }
  return result;
}

}  // namespace gridquant::stages
