// Op `soft_cap` on the CPU. See the header for the contract.
#include "engine/ops/soft_cap.h"

#include "absl/strings/str_cat.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/soft_cap_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

void soft_cap_rows(float cap, const tensor::Matrix<float>& x) {
  const FloatVec limit = hn::Set(FloatTag(), cap);
  for (int64_t r = 0; r < x.rows; ++r) {
    map2(x.row(r), x.row(r), x.cols, x.row(r),
         [&](FloatVec a, FloatVec) HWY_ATTR { return hn::Mul(limit, tanh_of(hn::Div(a, limit))); });
  }
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(soft_cap_rows);

Status soft_cap(float cap, tensor::Matrix<float> x) {
  if (!(cap > 0)) return absl::InvalidArgumentError(absl::StrCat("soft_cap: cap ", cap, " is not positive"));
  HWY_DYNAMIC_DISPATCH(soft_cap_rows)(cap, x);
  return absl::OkStatus();
}

}  // namespace gridquant::ops
#endif
