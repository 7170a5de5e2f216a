// Op `rms_norm` on the CPU. See the header for the contract.
#include "engine/ops/rms_norm.h"

#include <cmath>

#include "absl/strings/str_cat.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/rms_norm_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

float inverse_rms(const float* x, int64_t n, float eps) {
  const FloatTag d;
  constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(FloatTag()));
  HWY_ALIGN float sums[kReduceLanes] = {};
  const int64_t whole = n / kReduceLanes * kReduceLanes;
  for (int64_t lane = 0; lane < kReduceLanes; lane += kStep) {
    FloatVec sum = hn::Zero(d);
    for (int64_t i = lane; i < whole; i += kReduceLanes) {
      const FloatVec v = hn::LoadU(d, x + i);
      sum = hn::Add(sum, hn::Mul(v, v));  // no fused step: the same bits at every width
    }
    hn::Store(sum, d, sums + lane);
  }
  for (int64_t i = whole; i < n; ++i) sums[i - whole] += x[i] * x[i];
  double total = 0;
  for (const float sum : sums) total += sum;
  return static_cast<float>(1.0 / std::sqrt(total / static_cast<double>(n) + static_cast<double>(eps)));
}

template <typename Out>
void rms_norm_rows(const tensor::Matrix<const float>& x, const float* weight, float eps, tensor::Matrix<Out> out) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const FloatVec scale = hn::Set(FloatTag(), inverse_rms(x.row(r), x.cols, eps));
    map2(x.row(r), weight, x.cols, out.row(r),
         [&](FloatVec v, FloatVec w) HWY_ATTR { return hn::Mul(hn::Mul(v, scale), w); });
  }
}

void rms_norm_f32(const tensor::Matrix<const float>& x, const float* weight, float eps, const Operand& out) {
  rms_norm_rows(x, weight, eps, out.f32());
}

void rms_norm_bf16(const tensor::Matrix<const float>& x, const float* weight, float eps, const Operand& out) {
  rms_norm_rows(x, weight, eps, out.bf16());
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(rms_norm_f32);
HWY_EXPORT(rms_norm_bf16);

Status rms_norm(tensor::Matrix<const float> x, std::span<const float> weight, float eps, const Operand& out) {
  if (out.rows != x.rows || out.cols != x.cols || static_cast<int64_t>(weight.size()) != x.cols) {
    return absl::InvalidArgumentError(absl::StrCat("rms_norm: x ", x.rows, " x ", x.cols, ", weight ", weight.size(),
                                                   ", out ", out.rows, " x ", out.cols));
  }
  if (out.compute == Compute::kBF16) {
    HWY_DYNAMIC_DISPATCH(rms_norm_bf16)(x, weight.data(), eps, out);
  } else {
    HWY_DYNAMIC_DISPATCH(rms_norm_f32)(x, weight.data(), eps, out);
  }
  return absl::OkStatus();
}

}  // namespace gridquant::ops
#endif
