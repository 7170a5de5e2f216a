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
      if (linear) {
        GQ_ASSIGN_OR_RETURN(tensor::Tensor stored, source.tensors->read_weight(spec.name, spec.shape));
        loaded.weights.emplace(spec.name, LoadedWeight(std::move(stored)));
      } else {
        GQ_ASSIGN_OR_RETURN(tensor::Tensor values, source.tensors->read_f32(spec.name, spec.shape));
        loaded.norms_and_biases.push_back(std::move(values));
      }
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return loaded;
}

namespace {

constexpr size_t kEmbeddingBytes = 64 << 20;  // of rows that are held at once
constexpr int64_t kWidenPerTask = 1 << 20;

StatusOr<std::string> embedding_name(const ModelSource& source) {
  for (const model::TensorSpec& spec : source.outer()) {
    if (spec.role == model::TensorRole::kEmbedding) return spec.name;
  }
  return absl::InternalError(absl::StrCat(source.architecture->name(), ": no tensor has the role of the embedding"));
}

// Sequences [begin, end): their different ids are read as a small embedding of their own.
Status embed_range(const ModelSource& source, const formats::RowReader& rows, const TokenSet& tokens, int64_t begin,
                   int64_t end, device::ThreadPool& pool, HiddenStates& hidden) {
  std::vector<int32_t> ids(tokens.sequence(begin).data(), tokens.sequence(end - 1).data() + tokens.length);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.front() < 0 || ids.back() >= rows.rows()) {
    return absl::InvalidArgumentError(absl::StrCat("token id ", ids.front() < 0 ? ids.front() : ids.back(),
                                                   " is outside of the model's vocabulary of ", rows.rows()));
  }
  tensor::Tensor small(rows.dtype(), {static_cast<int64_t>(ids.size()), rows.cols()});
  for (size_t first = 0; first < ids.size();) {
    size_t last = first + 1;  // neighbours in one read
    while (last < ids.size() && ids[last] == ids[last - 1] + 1) ++last;
    GQ_RETURN_IF_ERROR(rows.read(ids[first], static_cast<int64_t>(last - first),
                                 small.raw().subspan(first * rows.row_bytes(), (last - first) * rows.row_bytes())));
    first = last;
  }
  return parallel(pool, end - begin, [&](int64_t i, int) {
    std::vector<int32_t> local;
    for (const int32_t id : tokens.sequence(begin + i)) {
      local.push_back(static_cast<int32_t>(std::lower_bound(ids.begin(), ids.end(), id) - ids.begin()));
    }
    const Status status = source.architecture->embed(source.config, small, local, hidden.sequence(begin + i).hidden);
    hidden.release(begin + i);
    return status;
  });
}

}  // namespace

Status embed_tokens(const ModelSource& source, const TokenSet& tokens, device::ThreadPool& pool, HiddenStates& hidden) {
  GQ_ASSIGN_OR_RETURN(const std::string name, embedding_name(source));
  GQ_ASSIGN_OR_RETURN(const auto rows, source.tensors->rows(name));
  const size_t sequence_bytes = std::max<size_t>(1, static_cast<size_t>(tokens.length) * rows->row_bytes());
  const int64_t at_once = std::max<int64_t>(pool.all_threads(), static_cast<int64_t>(kEmbeddingBytes / sequence_bytes));
  for (int64_t begin = 0; begin < tokens.count(); begin += at_once) {
    const int64_t end = std::min(tokens.count(), begin + at_once);
    GQ_RETURN_IF_ERROR(guard_memory([&] { return embed_range(source, *rows, tokens, begin, end, pool, hidden); }));
  }
  return absl::OkStatus();
}

StatusOr<tensor::Tensor> LoadedWeight::take() {
  if (make_ != nullptr) return std::exchange(make_, nullptr)();
  tensor::Tensor stored = std::move(stored_);
  if (stored.dtype() == tensor::DType::kF32) return stored;
  return tensor::to_f32(stored);
}

StatusOr<tensor::Tensor> LoadedWeight::take(device::ThreadPool& pool) {
  if (make_ != nullptr) return std::exchange(make_, nullptr)();
  tensor::Tensor stored = std::move(stored_);
  if (stored.dtype() == tensor::DType::kF32) return stored;
  tensor::Tensor wide(tensor::DType::kF32, stored.shape(), pool.memory());
  const int64_t total = stored.count();
  pool.parallel_for((total + kWidenPerTask - 1) / kWidenPerTask, [&](int64_t task, int) {
    const auto begin = static_cast<size_t>(task * kWidenPerTask);
    const size_t count = std::min<size_t>(kWidenPerTask, static_cast<size_t>(total) - begin);
    const std::span<float> to = wide.as<float>().subspan(begin, count);
    if (stored.dtype() == tensor::DType::kBF16) {
      tensor::bf16_to_f32(std::as_const(stored).as<tensor::BF16>().subspan(begin, count), to);
    } else {
      tensor::f16_to_f32(std::as_const(stored).as<tensor::F16>().subspan(begin, count), to);
    }
  });
  return wide;
}

StatusOr<tensor::Tensor> LoadedWeight::rows_as_f32(int64_t begin, int64_t count) const {
  if (make_ != nullptr || begin + count > stored_.rows()) return absl::InternalError("weight has no such stored rows");
  const size_t row_bytes = stored_.bytes() / static_cast<size_t>(std::max<int64_t>(1, stored_.rows()));
  tensor::Tensor part(stored_.dtype(), {count, stored_.cols()});
  std::ranges::copy(stored_.raw().subspan(static_cast<size_t>(begin) * row_bytes, part.bytes()), part.raw().begin());
  if (part.dtype() == tensor::DType::kF32) return part;
  return tensor::to_f32(part);
}

LoadedWeight deferred(formats::GptqWeight packed) {
  return LoadedWeight([shared = std::make_shared<formats::GptqWeight>(
                           std::move(packed))]() -> StatusOr<tensor::Tensor> { return formats::dequantize(*shared); });
}

StatusOr<LoadedWeight> LoadedBlock::take(const std::string& name) {
  auto node = weights.extract(name);
  if (node.empty()) return absl::InternalError(absl::StrCat(name, ": was not read, or is used already"));
  return std::move(node.mapped());
}

Status set_weights(model::Block& block, const std::vector<std::string>& names, LoadedBlock& loaded,
                   device::ThreadPool& pool) {
  std::vector<LoadedWeight> taken;
  for (const std::string& name : names) {
    GQ_ASSIGN_OR_RETURN(LoadedWeight weight, loaded.take(name));
    taken.push_back(std::move(weight));
  }
  return parallel(pool, static_cast<int64_t>(names.size()), [&](int64_t i, int) -> Status {
    GQ_ASSIGN_OR_RETURN(const tensor::Tensor weight, taken[i].take());
    return block.set_weight(names[i], weight.matrix<float>());
  });
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
  GQ_RETURN_IF_ERROR(walk_view(block, hidden.sequence(i), thread, observer));
  hidden.release(i);
  return absl::OkStatus();
}

Status BlockWalker::walk_view(const model::Block& block, model::SequenceView sequence, int thread,
                              const SiteObserver& observer) {
  Workspace& workspace = workspaces_[thread];
  sequence.routing = &workspace.routing;
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
