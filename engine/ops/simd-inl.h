// Inside the *_cpu.cc files only: what the elementwise kernels share, compiled once per vector width by Highway's
// foreach_target. A kernel works on whole vectors; a row's tail goes through a small padded array.
#if defined(GRIDQUANT_ENGINE_OPS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRIDQUANT_ENGINE_OPS_SIMD_INL_H_
#undef GRIDQUANT_ENGINE_OPS_SIMD_INL_H_
#else
#define GRIDQUANT_ENGINE_OPS_SIMD_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "engine/tensor/dtype.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::CappedTag<float, 16>;  // at most 16 lanes: every reduction is over exactly 16
using FloatVec = hn::Vec<FloatTag>;
constexpr int64_t kReduceLanes = 16;

HWY_INLINE int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(FloatTag()));
}

HWY_INLINE void store_as(FloatVec v, float* to) {
  hn::StoreU(v, FloatTag(), to);
}

// Round to nearest even, NaN kept: the bits of tensor::to_bf16.
HWY_INLINE void store_as(FloatVec v, tensor::BF16* to) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<uint16_t, FloatTag> d16;
  const auto bits = hn::BitCast(du, v);
  const auto high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7fffu)), odd));
  const auto quiet = hn::Or(high, hn::Set(du, 0x40u));
  const auto out = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  (void)d;
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, out)), d16, reinterpret_cast<uint16_t*>(to));
}

// out[i] = f(a[i], b[i]) for i in [0, n).
template <typename Out, typename F>
HWY_INLINE void map2(const float* a, const float* b, int64_t n, Out* out, const F& f) {
  const FloatTag d;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) store_as(f(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), out + i);
  if (i == n) return;
  HWY_ALIGN float pad_a[kReduceLanes] = {};
  HWY_ALIGN float pad_b[kReduceLanes] = {};
  HWY_ALIGN Out pad_out[kReduceLanes];
  std::copy(a + i, a + n, pad_a);
  std::copy(b + i, b + n, pad_b);
  store_as(f(hn::Load(d, pad_a), hn::Load(d, pad_b)), pad_out);
  std::copy(pad_out, pad_out + (n - i), out + i);
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
