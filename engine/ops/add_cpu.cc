// Op `add` on the CPU. See the header for the contract.
#include "engine/ops/add.h"

#include "absl/strings/str_cat.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/add_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

void add_rows(const tensor::Matrix<const float>& x, const tensor::Matrix<float>& y) {
  for (int64_t r = 0; r < y.rows; ++r) {
    map2(x.row(x.rows == 1 ? 0 : r), y.row(r), y.cols, y.row(r),
         [](FloatVec a, FloatVec b) HWY_ATTR { return hn::Add(a, b); });
  }
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(add_rows);

Status add(tensor::Matrix<const float> x, tensor::Matrix<float> y) {
  if (x.cols != y.cols || (x.rows != 1 && x.rows != y.rows)) {
    return absl::InvalidArgumentError(absl::StrCat("add: x ", x.rows, " x ", x.cols, " to y ", y.rows, " x ", y.cols));
  }
  HWY_DYNAMIC_DISPATCH(add_rows)(x, y);
  return absl::OkStatus();
}

}  // namespace gridquant::ops
#endif
