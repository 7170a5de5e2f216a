// A matrix in the type that products are computed in: float for Compute::kF32, BF16 for Compute::kBF16.
// Borrowed memory, row-major, `stride` elements from one row to the next.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/device/cpu.h"
#include "engine/tensor/tensor.h"

namespace gridquant::ops {

using device::Compute;

inline size_t operand_size(Compute compute) {
  return compute == Compute::kBF16 ? 2 : 4;
}

struct Operand {
  Compute compute = Compute::kF32;
  std::byte* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  Operand row_range(int64_t begin, int64_t count) const {
    return {compute, data + static_cast<size_t>(begin * stride) * operand_size(compute), count, cols, stride};
  }
  tensor::Matrix<float> f32() const { return {reinterpret_cast<float*>(data), rows, cols, stride}; }
  tensor::Matrix<tensor::BF16> bf16() const { return {reinterpret_cast<tensor::BF16*>(data), rows, cols, stride}; }
};

// Owns the memory of an Operand. Uninitialised.
class OperandBuffer {
 public:
  OperandBuffer() = default;
  OperandBuffer(Compute compute, int64_t rows, int64_t cols);
  Operand view() const { return view_; }

 private:
  tensor::Buffer buffer_;
  Operand view_;
};

}  // namespace gridquant::ops
