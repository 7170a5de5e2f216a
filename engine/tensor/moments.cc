// Bodies of tensor/moments.h, once per vector width. Tensors are widened a span at a time.
#include "engine/tensor/moments.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/tensor/moments.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::tensor::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Wide = hn::CappedTag<double, 8>;
using Narrow = hn::Rebind<float, Wide>;
constexpr size_t kVector = hn::MaxLanes(Wide());
constexpr size_t kVectors = kMomentLanes / kVector;

// `count` is a multiple of kMomentLanes.
void AddRange(const float* x, size_t count, RangeSums& to) {
  const Wide d;
  const Narrow n;
  hn::Vec<Wide> sum[kVectors];
  hn::Vec<Narrow> min[kVectors], max[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    sum[v] = hn::LoadU(d, &to.sum[v * kVector]);
    min[v] = hn::LoadU(n, &to.min[v * kVector]), max[v] = hn::LoadU(n, &to.max[v * kVector]);
  }
  for (size_t i = 0; i < count; i += kMomentLanes) {
    HWY_UNROLL(16)
    for (size_t v = 0; v < kVectors; ++v) {
      const auto value = hn::LoadU(n, x + i + v * kVector);
      sum[v] = hn::Add(sum[v], hn::PromoteTo(d, value));
      min[v] = hn::Min(min[v], value), max[v] = hn::Max(max[v], value);
    }
  }
  for (size_t v = 0; v < kVectors; ++v) {
    hn::StoreU(sum[v], d, &to.sum[v * kVector]);
    hn::StoreU(min[v], n, &to.min[v * kVector]), hn::StoreU(max[v], n, &to.max[v * kVector]);
  }
}

void AddCentral(const float* x, size_t count, double mean, CentralSums& to) {
  const Wide d;
  const Narrow n;
  const auto center = hn::Set(d, mean);
  hn::Vec<Wide> square[kVectors], fourth[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    square[v] = hn::LoadU(d, &to.square[v * kVector]), fourth[v] = hn::LoadU(d, &to.fourth[v * kVector]);
  }
  for (size_t i = 0; i < count; i += kMomentLanes) {
    HWY_UNROLL(16)
    for (size_t v = 0; v < kVectors; ++v) {
      const auto away = hn::Sub(hn::PromoteTo(d, hn::LoadU(n, x + i + v * kVector)), center);
      const auto squared = hn::Mul(away, away);
      square[v] = hn::Add(square[v], squared);
      fourth[v] = hn::Add(fourth[v], hn::Mul(squared, squared));
    }
  }
  for (size_t v = 0; v < kVectors; ++v) {
    hn::StoreU(square[v], d, &to.square[v * kVector]), hn::StoreU(fourth[v], d, &to.fourth[v * kVector]);
  }
}

size_t CountOutside(const float* x, size_t count, float low, float high) {
  const hn::CappedTag<float, kMomentLanes> d;
  const auto below = hn::Set(d, low), above = hn::Set(d, high);
  size_t outside = 0;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    const auto value = hn::LoadU(d, x + i);
    outside += hn::CountTrue(d, hn::Or(hn::Lt(value, below), hn::Gt(value, above)));
  }
  return outside;
}

}  // namespace gridquant::tensor::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::tensor {
namespace {

HWY_EXPORT(AddRange);
HWY_EXPORT(AddCentral);
HWY_EXPORT(CountOutside);

constexpr int64_t kSpan = 4096;  // elements widened at a time; a multiple of kMomentLanes

// Calls fn with consecutive spans as fp32; only the last one is shorter than kSpan.
template <typename Fn>
void for_each_span(const Tensor& tensor, const Fn& fn) {
  std::array<float, kSpan> widened;
  const int64_t total = tensor.count();
  for (int64_t begin = 0; begin < total; begin += kSpan) {
    const auto at = static_cast<size_t>(begin);
    const auto count = static_cast<size_t>(std::min(kSpan, total - begin));
    const std::span<float> to(widened.data(), count);
    if (tensor.dtype() == DType::kF32) {
      fn(tensor.as<float>().data() + begin, count);
    } else if (tensor.dtype() == DType::kBF16) {
      bf16_to_f32(tensor.as<BF16>().subspan(at, count), to);
      fn(widened.data(), count);
    } else {
      f16_to_f32(tensor.as<F16>().subspan(at, count), to);
      fn(widened.data(), count);
    }
  }
}

size_t whole_lanes(size_t count) {
  return count / kMomentLanes * kMomentLanes;
}

}  // namespace

RangeSums range_sums(const Tensor& tensor) {
  RangeSums sums;
  for_each_span(tensor, [&](const float* x, size_t count) {
    const size_t whole = whole_lanes(count);
    HWY_DYNAMIC_DISPATCH(AddRange)(x, whole, sums);
    for (size_t i = whole; i < count; ++i) {
      const size_t lane = i - whole;
      sums.sum[lane] += x[i];
      sums.min[lane] = std::min(sums.min[lane], x[i]), sums.max[lane] = std::max(sums.max[lane], x[i]);
    }
  });
  return sums;
}

CentralSums central_sums(const Tensor& tensor, double mean) {
  CentralSums sums;
  for_each_span(tensor, [&](const float* x, size_t count) {
    const size_t whole = whole_lanes(count);
    HWY_DYNAMIC_DISPATCH(AddCentral)(x, whole, mean, sums);
    for (size_t i = whole; i < count; ++i) {
      const double away = x[i] - mean;
      sums.square[i - whole] += away * away;
      sums.fourth[i - whole] += away * away * (away * away);
    }
  });
  return sums;
}

int64_t count_outside(const Tensor& tensor, float low, float high) {
  size_t outside = 0;
  for_each_span(tensor, [&](const float* x, size_t count) {
    const size_t whole = whole_lanes(count);
    outside += HWY_DYNAMIC_DISPATCH(CountOutside)(x, whole, low, high);
    for (size_t i = whole; i < count; ++i) outside += x[i] < low || x[i] > high ? 1 : 0;
  });
  return static_cast<int64_t>(outside);
}

}  // namespace gridquant::tensor
#endif  // HWY_ONCE
