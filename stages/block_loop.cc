// Blocks read, made and walked. Not here: what a stage does with what it sees on the way.
#include "stages/block_loop.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "stages/parallel.h"

namespace gridquant::stages {

StatusOr<LoadedBlock> load_block(const ModelSource& source, int64_t b, const LoadFilter& filter) {
  LoadedBlock loaded;
  loaded.index = b;
  const Status status = guard_memory([&]() -> Status {
    for (const model::TensorSpec& spec : source.block(b)) {
      if (filter.raw && filter.raw(spec.name)) {
        GQ_ASSIGN_OR_RETURN(tensor::Tensor raw, source.tensors->read(spec.name));
        loaded.raw.push_back({spec.name, std::move(raw)});
      }
      const bool linear = spec.role == model::TensorRole::kLinear;
      if (linear && filter.weight && !filter.weight(spec.name)) continue;
      GQ_ASSIGN_OR_RETURN(tensor::Tensor values, source.tensors->read_f32(spec.name, spec.shape));
      if (linear) {
        loaded.weights.emplace(spec.name, std::move(values));
      } else {
        loaded.norms_and_biases.push_back(std::move(values));
      }
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return loaded;
}

HiddenStates::HiddenStates(int64_t count, int64_t length, int64_t hidden_size)
    : count_(count), length_(length), tensor_(tensor::DType::kF32, {count * length, hidden_size}) {}

Status embed_tokens(const ModelSource& source, const tensor::Tensor& embedding, const TokenSet& tokens,
                    device::ThreadPool& pool, HiddenStates& hidden) {
  return parallel(pool, tokens.count(), [&](int64_t i, int) {
    return source.architecture->embed(source.config, embedding, tokens.sequence(i), hidden.sequence(i).hidden);
  });
}

StatusOr<std::string> embedding_name(const ModelSource& source) {
  for (const model::TensorSpec& spec : source.outer()) {
    if (spec.role == model::TensorRole::kEmbedding) return spec.name;
  }
  return absl::InternalError(absl::StrCat(source.architecture->name(), ": no tensor has the role of the embedding"));
}

Status set_weights(model::Block& block, const std::vector<std::string>& names, LoadedBlock& loaded,
                   device::ThreadPool& pool) {
  for (const std::string& name : names) {
    if (!loaded.weights.contains(name)) return absl::InternalError(absl::StrCat(name, ": was not read"));
  }
  GQ_RETURN_IF_ERROR(parallel(pool, static_cast<int64_t>(names.size()), [&](int64_t i, int) {
    tensor::Tensor& weight = loaded.weights.at(names[i]);
    return block.set_weight(names[i], std::as_const(weight).matrix<float>());
  }));
  for (const std::string& name : names) loaded.weights.erase(name);
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<model::Block>> make_complete_block(const ModelSource& source, ops::Compute compute,
                                                            LoadedBlock loaded, device::ThreadPool& pool) {
  GQ_ASSIGN_OR_RETURN(
      std::unique_ptr<model::Block> block,
      source.architecture->make_block(source.config, loaded.index, compute, std::move(loaded.norms_and_biases)));
  std::vector<std::string> names;
  for (const auto& [name, weight] : loaded.weights) names.push_back(name);
  GQ_RETURN_IF_ERROR(set_weights(*block, names, loaded, pool));
  return block;
}

WidestSite widest_site(const ModelSource& source, int parity) {
  WidestSite widest;
  for (int64_t b = 0; b < source.config.block_count; ++b) {
    const std::vector<model::SiteSpec> sites = source.architecture->sites(source.config, b);
    for (size_t s = static_cast<size_t>(parity); s < sites.size(); s += 2) {
      widest.width = std::max(widest.width, sites[s].width);
      widest.per_token = std::max(widest.per_token, sites[s].width * sites[s].rows_per_token);
    }
  }
  return widest;
}

BlockWalker::BlockWalker(const ModelSource& source, ops::Compute compute, int64_t length, device::ThreadPool& pool)
    : source_(source), compute_(compute), length_(length), pool_(pool) {
  const size_t row_bytes = ops::operand_size(compute) * static_cast<size_t>(length);
  for (int t = 0; t < pool.threads(); ++t) {
    Workspace workspace;
    workspace.even = tensor::Buffer(row_bytes * static_cast<size_t>(widest_site(source, 0).per_token));
    workspace.odd = tensor::Buffer(row_bytes * static_cast<size_t>(widest_site(source, 1).per_token));
    workspaces_.push_back(std::move(workspace));
  }
}

void BlockWalker::prepare(const model::Block& block, int64_t b) {
  sites_ = source_.architecture->sites(source_.config, b);
  for (Workspace& workspace : workspaces_) {
    if (workspace.scratch == nullptr) workspace.scratch = block.make_scratch(length_);
  }
}

ops::Operand BlockWalker::operand(Workspace& workspace, int site) const {
  tensor::Buffer& buffer = site % 2 == 0 ? workspace.even : workspace.odd;
  const model::SiteSpec& spec = sites_[site];
  return {compute_, buffer.data(), length_ * spec.rows_per_token, spec.width, spec.width};
}

Status BlockWalker::walk(const model::Block& block, HiddenStates& hidden, int64_t i, int thread,
                         const SiteObserver& observer) {
  Workspace& workspace = workspaces_[thread];
  const model::SequenceView sequence = hidden.sequence(i, &workspace.routing);
  const int sites = static_cast<int>(sites_.size());
  GQ_RETURN_IF_ERROR(block.begin(sequence, operand(workspace, 0), *workspace.scratch));
  for (int s = 0; s < sites; ++s) {
    const ops::Operand x = operand(workspace, s);
    if (observer) GQ_RETURN_IF_ERROR(observer(s, sequence, x));
    const ops::Operand next = s + 1 < sites ? operand(workspace, s + 1) : ops::Operand{};
    GQ_RETURN_IF_ERROR(block.advance(s, sequence, x, next, *workspace.scratch));
  }
  return absl::OkStatus();
}

Status BlockWalker::walk_all(const model::Block& block, int64_t b, HiddenStates& hidden) {
  prepare(block, b);
  return parallel(pool_, hidden.count(), [&](int64_t i, int thread) { return walk(block, hidden, i, thread, {}); });
}

}  // namespace gridquant::stages
