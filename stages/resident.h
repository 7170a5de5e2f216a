// A whole model for many forward passes: its blocks in memory if they fit, read again for every pass if not.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/base/status.h"
#include "engine/device/thread_pool.h"
#include "engine/ops/linear.h"
#include "stages/model_source.h"

namespace gridquant::stages {

class ResidentModel {
 public:
  // Borrows the source and the pool. open() is what to call.
  ResidentModel(const ModelSource& source, ops::Compute compute, device::ThreadPool& pool);
  // `memory`: bytes that weights may take, 0: half of the machine's.
  static StatusOr<std::unique_ptr<ResidentModel>> open(const ModelSource& source, ops::Compute compute,
                                                       device::ThreadPool& pool, uint64_t memory);
  bool resident() const { return resident_; }
  int64_t memory_left() const { return memory_left_; }  // bytes of what may be used; below 0: too little

  // Calls fn with every block in order.
  Status each_block(const std::function<Status(int64_t b, const model::Block& block)>& fn);
  const tensor::Tensor& embedding() const { return embedding_; }
  // Logits of the rows of `hidden`, through `normed` (as many rows). Thread-safe.
  Status logits(tensor::Matrix<const float> hidden, const ops::Operand& normed, tensor::Matrix<float> out) const;

 private:
  Status load(int64_t memory);

  const ModelSource& source_;
  ops::Compute compute_;
  device::ThreadPool& pool_;
  bool resident_ = true;
  int64_t memory_left_ = 0;
  std::vector<std::unique_ptr<model::Block>> blocks_;
  tensor::Tensor embedding_, norm_;
  ops::LinearWeight head_;
};

}  // namespace gridquant::stages
