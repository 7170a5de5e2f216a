// The block loop's inner part: observe, combine, factor, solve, replace, go on. Not here: reading, writing, resuming.
#include "stages/block_quantizer.h"

#include <algorithm>

#include "stages/parallel.h"
#include "stages/site_statistics.h"

namespace gridquant::stages {

BlockQuantizer::BlockQuantizer(const ModelSource& source, const Plan& plan, ops::Compute compute,
                               const Borrowed& borrowed)
    : source_(source),
      compute_(compute),
      pool_(borrowed.pool),
      own_pool_(borrowed.own_pool),
      times_(borrowed.times),
      budget_(borrowed.budget),
      shard_(borrowed.shard),
      solver_(plan, borrowed.shard.comm(), borrowed.pool, borrowed.times),
      gatherer_(borrowed.shard, compute, borrowed.pool) {}

Status BlockQuantizer::reserve(const HiddenStates& hidden, const model::Block& block) {
  if (!scratch_.empty()) return absl::OkStatus();
  const size_t rows = static_cast<size_t>(hidden.count() * hidden.length());
  const auto input_bytes = [&](const WidestSite& site) {
    return rows * static_cast<size_t>(site.per_token) * ops::operand_size(compute_);
  };
  GQ_ASSIGN_OR_RETURN(even_, budget_.make("even-inputs", input_bytes(widest_site(source_, 0))));
  GQ_ASSIGN_OR_RETURN(odd_, budget_.make("odd-inputs", input_bytes(widest_site(source_, 1))));
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

// From the last sequence to the first, as a site's Hessian goes from the first to the last: what was used a moment ago
// is still in the cache (1 % of the forward passes' time).
Status BlockQuantizer::advance(const model::Block& block, HiddenStates& hidden, const Site& site, const Site* next) {
  return parallel(pool_, hidden.count(), [&](int64_t task, int thread) -> Status {
    const int64_t length = hidden.length();
    const int64_t i = hidden.count() - 1 - task;
    const ops::Operand next_rows = next == nullptr ? ops::Operand{} : next->input_of(i, length);
    GQ_RETURN_IF_ERROR(block.advance(site.index, hidden.sequence(i, &routings_[i]), site.input_of(i, length), next_rows,
                                     *scratch_[thread]));
    hidden.release(i);
    release(site, hidden, i);
    if (next != nullptr) release(*next, hidden, i);
    return absl::OkStatus();
  });
}

Status BlockQuantizer::solve_site(const Site& site, HiddenStates& hidden, LoadedBlock& loaded, QuantizedBlock& result) {
  if (site.spec->experts > 0) return solve_experts(site, hidden, loaded, result);
  const SiteInput input{.spec = *site.spec, .x = site.input, .length = hidden.length(), .routings = {}, .release = {}};
  GQ_ASSIGN_OR_RETURN(const PartRows rows, gatherer_.gather(input, model::parts_of(*site.spec).front()));
  return solve_rows(solver_.planned(site.spec->weights), rows, loaded, result);
}

// One expert after the other: experts do not see each other's weights, so their order does not matter.
Status BlockQuantizer::solve_experts(const Site& site, HiddenStates& hidden, LoadedBlock& loaded,
                                     QuantizedBlock& result) {
  std::vector<float> pooled;
  const int64_t width = site.spec->width;
  GQ_ASSIGN_OR_RETURN(const std::vector<int64_t> tokens, tokens_of_experts(shard_, routings_, site.spec->experts));
  const SiteInput input{
      .spec = *site.spec, .x = site.input, .length = hidden.length(), .routings = routings_, .release = [&](int64_t i) {
        release(site, hidden, i);
      }};
  for (const model::SitePart& part : model::parts_of(*site.spec)) {
    const int64_t count = tokens[static_cast<size_t>(part.expert)];
    const std::vector<std::string> names = solver_.planned(part.weights);
    if (names.empty()) continue;
    if (count >= min_tokens(width)) {
      GQ_ASSIGN_OR_RETURN(const PartRows rows, gatherer_.gather(input, part));
      times_.lap("gather");
      GQ_RETURN_IF_ERROR(solve_rows(names, rows, loaded, result));
      continue;
    }
    if (pooled.empty()) {
      GQ_ASSIGN_OR_RETURN(pooled, pooled_diagonal(site, hidden));
    }
    GQ_RETURN_IF_ERROR(solver_.round_expert(part, width, count, pooled, loaded, result));
  }
  result.experts = {{"block", loaded.index}, {"tokens", tokens}};
  return absl::OkStatus();
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

Status BlockQuantizer::solve_rows(const std::vector<std::string>& names, const PartRows& rows, LoadedBlock& loaded,
                                  QuantizedBlock& result) {
  if (names.empty()) return absl::OkStatus();
  tensor::Tensor hessian(tensor::DType::kF32, {rows.x.cols, rows.x.cols}, pool_.memory());
  GQ_RETURN_IF_ERROR(gram_over_ranks(shard_, rows.x, rows.groups, pool_, hessian.matrix<float>()));
  for (ActivationMemory* input : {&even_, &odd_}) {
    if (rows.x.data != input->data()) continue;
    input->release(0, static_cast<size_t>(rows.x.rows * rows.x.stride) * ops::operand_size(compute_));
  }
  times_.lap("gram");
  return solver_.solve(names, std::move(hessian), loaded, result);
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
  const Status status = set_weights(block, site.spec->weights, loaded, own_pool_);
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
  if (pool_.lost()) return absl::AbortedError("ranks that share memory did not come to the block's work");
  return result;
}

}  // namespace gridquant::stages
