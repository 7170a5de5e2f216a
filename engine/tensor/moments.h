// Sums over the elements of a tensor, as fp32, in 16 fixed lanes of fp64: element i goes to lane i % 16, in order. The
// same bits on every machine: nothing is fused. Not here: what follows from the sums.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "engine/tensor/tensor.h"

namespace gridquant::tensor {

inline constexpr size_t kMomentLanes = 16;

struct RangeSums {
  RangeSums() {
    min.fill(std::numeric_limits<float>::infinity());
    max.fill(-std::numeric_limits<float>::infinity());
  }
  std::array<double, kMomentLanes> sum{};
  std::array<float, kMomentLanes> min, max;  // without meaning where an element is NaN: then so is the sum
};

struct CentralSums {
  std::array<double, kMomentLanes> square{}, fourth{};  // of x - mean
};

// F32, F16 or BF16.
RangeSums range_sums(const Tensor& tensor);
CentralSums central_sums(const Tensor& tensor, double mean);
// Elements below `low` or above `high`.
int64_t count_outside(const Tensor& tensor, float low, float high);

}  // namespace gridquant::tensor
