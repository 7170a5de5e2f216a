// Inputs of a block, and the Hessians that are made of them.
#include "stages/hessian_collector.h"

#include <algorithm>
#include <cstring>

namespace gridquant::stages {

StatusOr<HessianCollector> HessianCollector::make(StageContext& context, const ModelSource& source, const Shard& shard,
                                                  ops::Compute compute, ActivationBudget& budget) {
  HessianCollector collector(context, source, shard, compute);
  std::vector<size_t> bytes;  // per site, the most of any block
  for (int64_t b = 0; b < source.config.block_count; ++b) {
    const std::vector<model::SiteSpec> sites = source.architecture->sites(source.config, b);
    bytes.resize(std::max(bytes.size(), sites.size()));
    for (size_t s = 0; s < sites.size(); ++s) {
      const int64_t rows = shard.sequences() * shard.length() * sites[s].rows_per_token;
      bytes[s] = std::max(bytes[s], static_cast<size_t>(rows * sites[s].width) * ops::operand_size(compute));
    }
  }
  for (size_t s = 0; s < bytes.size(); ++s) {
    GQ_ASSIGN_OR_RETURN(ActivationMemory memory, budget.make("inputs-" + std::to_string(s), bytes[s]));
    collector.inputs_.push_back(std::move(memory));
  }
  GQ_RETURN_IF_ERROR(on_first_rank(context.comm, [&]() -> Status {
    GQ_ASSIGN_OR_RETURN(HessianWriter writer, HessianWriter::open(context.env, context.task.artifact, source));
    collector.writer_.emplace(std::move(writer));
    return absl::OkStatus();
  }));
  return collector;
}

void HessianCollector::begin_block(int64_t b) {
  block_ = b;
  sites_ = source_->architecture->sites(source_->config, b);
}

SiteInput HessianCollector::input(size_t site) {
  const model::SiteSpec& spec = sites_[site];
  const int64_t rows = shard_->sequences() * shard_->length() * spec.rows_per_token;
  return {.spec = spec,
          .x = {compute_, inputs_[site].data(), rows, spec.width, spec.width},
          .length = shard_->length(),
          .routings = routings_,
          .release = {}};
}

void HessianCollector::observe(int site, int64_t i, const model::SequenceView& sequence, const ops::Operand& x) {
  const auto index = static_cast<size_t>(site);
  const ops::Operand to = input(index).of_sequence(i);
  const size_t element = ops::operand_size(compute_);
  const size_t row_bytes = static_cast<size_t>(x.cols) * element;
  for (int64_t r = 0; r < x.rows; ++r) {
    std::memcpy(to.data + static_cast<size_t>(r * to.stride) * element,
                x.data + static_cast<size_t>(r * x.stride) * element, row_bytes);
  }
  const size_t bytes = static_cast<size_t>(to.rows) * row_bytes;
  inputs_[index].release(static_cast<size_t>(i) * bytes, bytes);
  if (sites_[index].experts > 0) routings_[static_cast<size_t>(i)] = *sequence.routing;
}

// The first rank writes; if it cannot, all stop before the next sum.
Status HessianCollector::end_block() {
  for (const model::SiteSpec& site : sites_) {
    if (site.experts == 0) continue;  // every routed site of a block sees the same tokens
    GQ_ASSIGN_OR_RETURN(tokens_, tokens_of_experts(*shard_, routings_, site.experts));
    break;
  }
  GQ_RETURN_IF_ERROR(on_first_rank(shard_->comm(), [this] { return writer_->begin_block(block_); }));
  for (const HessianPart& part : hessians_of(*source_, block_)) GQ_RETURN_IF_ERROR(add(part));
  return on_first_rank(shard_->comm(), [this] { return writer_->end_block(); });
}

Status HessianCollector::add(const HessianPart& part) {
  const SiteInput of = input(part.site);
  GQ_ASSIGN_OR_RETURN(const PartRows rows, gatherer_.gather(of, part.part));
  tensor::Tensor hessian(tensor::DType::kF32, {part.width, part.width});
  GQ_RETURN_IF_ERROR(gram_over_ranks(*shard_, rows.x, rows.groups, context_->pool, hessian.matrix<float>()));
  inputs_[part.site].release(0, static_cast<size_t>(of.x.rows * of.x.stride) * ops::operand_size(compute_));
  const int64_t count = part.part.expert >= 0 ? tokens_[static_cast<size_t>(part.part.expert)]
                                              : shard_->all_sequences() * shard_->length() * of.spec.rows_per_token;
  return on_first_rank(shard_->comm(),
                       [&] { return writer_->add(part, count, std::as_const(hessian).matrix<float>()); });
}

Status HessianCollector::finish(const std::string& tokens_digest) {
  return on_first_rank(shard_->comm(), [&] { return writer_->finish(tokens_digest); });
}

}  // namespace gridquant::stages
