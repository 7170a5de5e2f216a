// Memory of the activations of all sequences: on the heap up to a budget that the user sets, in a scratch file beyond
// it. Not here: what is computed with them.
#pragma once

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <string>

#include "engine/base/env.h"
#include "engine/base/scratch.h"
#include "engine/base/status.h"
#include "engine/model/architecture.h"
#include "engine/tensor/tensor.h"

namespace gridquant::stages {

class ActivationMemory {
 public:
  ActivationMemory() = default;
  std::byte* data() { return scratch_ == nullptr ? heap_.data() : scratch_->bytes().data(); }
  // Bytes [offset, offset + size) are not needed for a while. Thread-safe.
  void release(size_t offset, size_t size) {
    if (scratch_ != nullptr) scratch_->release(offset, size);
  }

 private:
  friend class ActivationBudget;
  tensor::Buffer heap_;
  std::unique_ptr<base::ScratchMemory> scratch_;  // or null
};

// What a stage may hold of activations. A buffer that would exceed it lies in a file as a whole: under memory pressure
// its pages go to the disk, and what is released leaves the process at once. Results are the same bits.
class ActivationBudget {
 public:
  // Scratch files are made in `folder`; they have no name and are gone with the process. `memory` (null: the heap) is
  // where what the budget allows comes from.
  ActivationBudget(base::Env& env, std::string folder, uint64_t bytes, std::pmr::memory_resource* memory = nullptr)
      : env_(env), folder_(std::move(folder)), left_(bytes), memory_(memory) {}
  // ResourceExhausted: the disk has no room. `name` tells files apart.
  StatusOr<ActivationMemory> make(const std::string& name, size_t bytes);
  uint64_t spilled_bytes() const { return spilled_; }

 private:
  base::Env& env_;
  std::string folder_;
  uint64_t left_;
  std::pmr::memory_resource* memory_;
  uint64_t spilled_ = 0;
};

// The residual streams of all sequences: [count * length, hidden_size] fp32.
class HiddenStates {
 public:
  static StatusOr<HiddenStates> make(ActivationBudget& budget, const std::string& name, int64_t count, int64_t length,
                                     int64_t hidden_size);
  int64_t count() const { return count_; }
  int64_t length() const { return length_; }
  // A mixture's blocks also need `routing`, of this sequence or of the thread that walks it.
  model::SequenceView sequence(int64_t i, model::Routing* routing = nullptr) {
    return {{reinterpret_cast<float*>(memory_.data()) + i * length_ * width_, length_, width_, width_}, routing};
  }
  // The sequence is not looked at for a while. Thread-safe.
  void release(int64_t i) {
    const size_t bytes = static_cast<size_t>(length_ * width_) * sizeof(float);
    memory_.release(static_cast<size_t>(i) * bytes, bytes);
  }

 private:
  int64_t count_ = 0;
  int64_t length_ = 0;
  int64_t width_ = 0;
  ActivationMemory memory_;
};

}  // namespace gridquant::stages
