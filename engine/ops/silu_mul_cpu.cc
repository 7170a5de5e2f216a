// Op `silu_mul` on the CPU. See the header for the contract.
#include "engine/ops/silu_mul.h"

#include "absl/strings/str_cat.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/silu_mul_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

template <typename Out>
void silu_mul_rows(const tensor::Matrix<const float>& gate, const tensor::Matrix<const float>& up,
                   tensor::Matrix<Out> out) {
  for (int64_t r = 0; r < gate.rows; ++r) {
    map2(gate.row(r), up.row(r), gate.cols, out.row(r), [](FloatVec g, FloatVec u) HWY_ATTR {
      return hn::Mul(hn::Mul(g, u), kNative<Out> ? sigmoid_for_bf16(g) : sigmoid(g));
    });
  }
}

void silu_mul_to(const tensor::Matrix<const float>& gate, const tensor::Matrix<const float>& up, const Operand& out) {
  in_type_of(out, [&](const auto& to) HWY_ATTR { silu_mul_rows(gate, up, to); });
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(silu_mul_to);

Status silu_mul(tensor::Matrix<const float> gate, tensor::Matrix<const float> up, const Operand& out) {
  if (gate.rows != up.rows || gate.cols != up.cols || out.rows != up.rows || out.cols != up.cols) {
    return absl::InvalidArgumentError(absl::StrCat("silu_mul: gate ", gate.rows, " x ", gate.cols, ", up ", up.rows,
                                                   " x ", up.cols, ", out ", out.rows, " x ", out.cols));
  }
  HWY_DYNAMIC_DISPATCH(silu_mul_to)(gate, up, out);
  return absl::OkStatus();
}

}  // namespace gridquant::ops
#endif
