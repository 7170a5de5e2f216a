// Blocks, embedding and head of a model. Not here: what is done with them.
#include "stages/resident.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "stages/block_loop.h"
#include "stages/prefetch.h"

namespace gridquant::stages {
namespace {

int64_t half_of_memory() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / 2;
}

}  // namespace

ResidentModel::ResidentModel(const ModelSource& source, ops::Compute compute, device::ThreadPool& pool)
    : source_(source), compute_(compute), pool_(pool) {}

StatusOr<std::unique_ptr<ResidentModel>> ResidentModel::open(const ModelSource& source, ops::Compute compute,
                                                             device::ThreadPool& pool, uint64_t memory) {
  auto model = std::make_unique<ResidentModel>(source, compute, pool);
  const uint64_t most = std::numeric_limits<int64_t>::max();
  GQ_RETURN_IF_ERROR(model->load(memory == 0 ? half_of_memory() : static_cast<int64_t>(std::min(memory, most))));
  return model;
}

Status ResidentModel::load(int64_t memory) {
  int64_t block_bytes = 0;
  for (int64_t b = 0; b < source_.config.block_count; ++b) {
    for (const model::TensorSpec& spec : source_.block(b)) {
      block_bytes += tensor::element_count(spec.shape) * static_cast<int64_t>(ops::operand_size(compute_));
    }
  }
  std::string head_name;
  for (const model::TensorSpec& spec : source_.outer()) {
    const bool is_embedding = spec.role == model::TensorRole::kEmbedding;
    if (is_embedding || spec.role == model::TensorRole::kNorm) {
      GQ_ASSIGN_OR_RETURN(tensor::Tensor values, source_.tensors->read(spec.name));
      (is_embedding ? embedding_ : norm_) = std::move(values);
    }
    if (spec.role == model::TensorRole::kLmHead || (is_embedding && head_name.empty())) head_name = spec.name;
  }
  {
    GQ_ASSIGN_OR_RETURN(const tensor::Tensor weight, source_.tensors->read(head_name));
    if (weight.dtype() == tensor::DType::kBF16) {
      GQ_ASSIGN_OR_RETURN(head_, ops::LinearWeight::pack(compute_, weight.matrix<tensor::BF16>()));
    } else {
      const tensor::Tensor values = tensor::to_f32(weight);
      GQ_ASSIGN_OR_RETURN(head_, ops::LinearWeight::pack(compute_, values.matrix<float>()));
    }
  }
  memory_left_ = memory - static_cast<int64_t>(embedding_.bytes() + head_.bytes());
  resident_ = block_bytes <= memory_left_;
  if (!resident_) return absl::OkStatus();
  memory_left_ -= block_bytes;
  for (int64_t b = 0; b < source_.config.block_count; ++b) {
    GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, load_block(source_, b, {}));
    GQ_ASSIGN_OR_RETURN(std::unique_ptr<model::Block> block,
                        make_complete_block(source_, compute_, std::move(loaded), pool_));
    blocks_.push_back(std::move(block));
  }
  return absl::OkStatus();
}

Status ResidentModel::each_block(const std::function<Status(int64_t b, const model::Block& block)>& fn) {
  if (resident_) {
    for (size_t b = 0; b < blocks_.size(); ++b) GQ_RETURN_IF_ERROR(fn(static_cast<int64_t>(b), *blocks_[b]));
    return absl::OkStatus();
  }
  Prefetcher<LoadedBlock> loader(0, source_.config.block_count, true,
                                 [this](int64_t b) { return load_block(source_, b, {}); });
  for (int64_t b = 0; b < source_.config.block_count; ++b) {
    GQ_ASSIGN_OR_RETURN(LoadedBlock loaded, loader.take());
    GQ_ASSIGN_OR_RETURN(const std::unique_ptr<model::Block> block,
                        make_complete_block(source_, compute_, std::move(loaded), pool_));
    GQ_RETURN_IF_ERROR(fn(b, *block));
  }
  return absl::OkStatus();
}

Status ResidentModel::logits(tensor::Matrix<const float> hidden, const ops::Operand& normed,
                             tensor::Matrix<float> out) const {
  GQ_RETURN_IF_ERROR(source_.architecture->final_norm(source_.config, norm_, hidden, normed));
  GQ_RETURN_IF_ERROR(head_.multiply(normed, out));
  return source_.architecture->finish_logits(source_.config, out);
}

}  // namespace gridquant::stages
