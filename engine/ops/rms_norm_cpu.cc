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

constexpr int64_t kRowsAtOnce = 4;

// What is left of a sum of squares: 1 / sqrt(mean + eps).
float inverse_rms(const float* sums, int64_t n, float eps) {
  double total = 0;
  for (int64_t i = 0; i < kReduceLanes; ++i) total += sums[i];
  return static_cast<float>(1.0 / std::sqrt(total / static_cast<double>(n) + static_cast<double>(eps)));
}

HWY_INLINE FloatVec add_square(FloatVec sum, const float* x) {
  const FloatVec v = hn::LoadU(FloatTag(), x);
  return hn::Add(sum, hn::Mul(v, v));  // no fused step: the same bits at every width
}

// sums[r][i] = sum of x^2 of row r's elements i, i + 16, ... Four rows at a time, for each sum waits for itself.
void sums_of_squares(const tensor::Matrix<const float>& x, float (*sums)[kReduceLanes]) {
  const FloatTag d;
  const int64_t whole = x.cols / kReduceLanes * kReduceLanes;
  const auto row = [&](int64_t r) { return x.row(std::min(r, x.rows - 1)); };
  for (int64_t lane = 0; lane < kReduceLanes; lane += lanes()) {
    FloatVec s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t i = lane; i < whole; i += kReduceLanes) {
      s0 = add_square(s0, row(0) + i);
      s1 = add_square(s1, row(1) + i);
      s2 = add_square(s2, row(2) + i);
      s3 = add_square(s3, row(3) + i);
    }
    hn::Store(s0, d, sums[0] + lane);
    hn::Store(s1, d, sums[1] + lane);
    hn::Store(s2, d, sums[2] + lane);
    hn::Store(s3, d, sums[3] + lane);
  }
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t i = whole; i < x.cols; ++i) sums[r][i - whole] += x.row(r)[i] * x.row(r)[i];
  }
}

template <typename Out>
void rms_norm_rows(const tensor::Matrix<const float>& x, const float* weight, float eps,
                   const tensor::Matrix<Out>& out) {
  HWY_ALIGN float sums[kRowsAtOnce][kReduceLanes];
  float scales[kRowsAtOnce];
  for (int64_t begin = 0; begin < x.rows; begin += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, x.rows - begin);
    sums_of_squares(x.row_range(begin, rows), sums);
    for (int64_t r = 0; r < rows; ++r) scales[r] = inverse_rms(sums[r], x.cols, eps);  // long chains, side by side
    for (int64_t r = 0; r < rows; ++r) {
      const FloatVec scale = hn::Set(FloatTag(), scales[r]);
      map2(x.row(begin + r), weight, x.cols, out.row(begin + r),
           [&](FloatVec v, FloatVec w) HWY_ATTR { return hn::Mul(hn::Mul(v, scale), w); });
    }
  }
}

void rms_norm_to(const tensor::Matrix<const float>& x, const float* weight, float eps, const Operand& out) {
  in_type_of(out, [&](const auto& to) HWY_ATTR { rms_norm_rows(x, weight, eps, to); });
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(rms_norm_to);

Status rms_norm(tensor::Matrix<const float> x, std::span<const float> weight, float eps, const Operand& out) {
  if (out.rows != x.rows || out.cols != x.cols || static_cast<int64_t>(weight.size()) != x.cols) {
    return absl::InvalidArgumentError(absl::StrCat("rms_norm: x ", x.rows, " x ", x.cols, ", weight ", weight.size(),
                                                   ", out ", out.rows, " x ", out.cols));
  }
  HWY_DYNAMIC_DISPATCH(rms_norm_to)(x, weight.data(), eps, out);
  return absl::OkStatus();
}

}  // namespace gridquant::ops
#endif
