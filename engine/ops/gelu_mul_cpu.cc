// Op `gelu_mul` on the CPU. See the header for the contract.
#include "engine/ops/gelu_mul.h"

#include "absl/strings/str_cat.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/gelu_mul_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

template <typename Out>
void gelu_mul_rows(const tensor::Matrix<const float>& gate, const tensor::Matrix<const float>& up,
                   tensor::Matrix<Out> out) {
  const FloatTag d;
  // (1 + tanh(u)) / 2 = 1 / (1 + e^-2u)
  const FloatVec linear = hn::Set(d, 1.5957691216f);    // 2 sqrt(2 / pi)
  const FloatVec cubic = hn::Set(d, 0.0713548162726f);  // 0.044715 times that
  for (int64_t r = 0; r < gate.rows; ++r) {
    map2(gate.row(r), up.row(r), gate.cols, out.row(r), [&](FloatVec g, FloatVec u) HWY_ATTR {
      const FloatVec twice = hn::Mul(g, hn::MulAdd(hn::Mul(g, g), cubic, linear));
      return hn::Mul(hn::Mul(g, u), sigmoid(twice));
    });
  }
}

void gelu_mul_to(const tensor::Matrix<const float>& gate, const tensor::Matrix<const float>& up, const Operand& out) {
  in_type_of(out, [&](const auto& to) HWY_ATTR { gelu_mul_rows(gate, up, to); });
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(gelu_mul_to);

Status gelu_mul(tensor::Matrix<const float> gate, tensor::Matrix<const float> up, const Operand& out) {
  if (gate.rows != up.rows || gate.cols != up.cols || out.rows != up.rows || out.cols != up.cols) {
    return absl::InvalidArgumentError(absl::StrCat("gelu_mul: gate ", gate.rows, " x ", gate.cols, ", up ", up.rows,
                                                   " x ", up.cols, ", out ", out.rows, " x ", out.cols));
  }
  HWY_DYNAMIC_DISPATCH(gelu_mul_to)(gate, up, out);
  return absl::OkStatus();
}

}  // namespace gridquant::ops
#endif
