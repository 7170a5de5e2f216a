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
#include <type_traits>

#include "engine/ops/product.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::CappedTag<float, 16>;  // at most 16 lanes: every reduction is over exactly 16
using FloatVec = hn::Vec<FloatTag>;
constexpr int64_t kReduceLanes = 16;
constexpr float kLog2E = 1.44269504f;

HWY_INLINE int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(FloatTag()));
}

HWY_INLINE void store_as(FloatVec v, float* to) {
  hn::StoreU(v, FloatTag(), to);
}

// Round to nearest even, NaN kept: the bits of tensor::to_bf16.
HWY_INLINE void store_as(FloatVec v, tensor::BF16* to) {
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::Rebind<uint16_t, FloatTag> d16;
  const auto bits = hn::BitCast(du, v);
  const auto high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7fffu)), odd));
  const auto quiet = hn::Or(high, hn::Set(du, 0x40u));
  const auto out = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  hn::StoreU(hn::TruncateTo(d16, out), d16, reinterpret_cast<uint16_t*>(to));
}

// A bf16 that the processor itself rounds, where library_has_bf16_products(): the same bits, but a number too small to
// be normal becomes zero, which is what the products there take it for. Elsewhere it is rounded as any bf16.
#if HWY_TARGET == HWY_AVX3
struct NativeBF16 {
  tensor::BF16 value;
};
HWY_INLINE void store_as(FloatVec v, NativeBF16* to) {
  __m256i rounded;
  asm("vcvtneps2bf16 %1, %0" : "=v"(rounded) : "v"(v.raw));  // no intrinsic: the target does not have the instruction
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded);
}
#else
using NativeBF16 = tensor::BF16;
#endif
// What is stored as Out may be computed as the *_for_bf16 functions do.
template <typename Out>
constexpr bool kNative = !std::is_same_v<NativeBF16, tensor::BF16> && std::is_same_v<Out, NativeBF16>;

// Two vectors, one after the other.
template <typename Out>
HWY_INLINE void store_as(FloatVec first, FloatVec second, Out* to) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kNative<Out>) {
    __m512i rounded;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(rounded) : "v"(first.raw), "v"(second.raw));
    _mm512_storeu_si512(to, rounded);
    return;
  }
#endif
  store_as(first, to);
  store_as(second, to + lanes());
}

// Calls f(matrix), the matrix being `out` in the type that it is stored in.
template <typename F>
HWY_INLINE void in_type_of(const Operand& out, const F& f) {
  if (out.compute == Compute::kF32) return f(out.f32());
  if (kNative<NativeBF16> && library_has_bf16_products()) {
    return f(tensor::Matrix<NativeBF16>{reinterpret_cast<NativeBF16*>(out.data), out.rows, out.cols, out.stride});
  }
  f(out.bf16());
}

// p * 2^n for an n that is an integer, p in (0.7, 1.5) and no result below the normal numbers; with AVX-512 infinity
// above them.
HWY_INLINE FloatVec times_power_of_two(FloatVec p, FloatVec n) {
#if HWY_TARGET == HWY_AVX3
  return FloatVec{_mm512_scalef_ps(p.raw, n.raw)};
#else
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
#if HWY_TARGET == HWY_AVX2
  const hn::Vec<decltype(di)> exponent{_mm256_cvtps_epi32(n.raw)};  // ConvertTo spends six more on what is not there
#else
  const auto exponent = hn::ConvertTo(di, n);
#endif
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(exponent)));
#endif
}

// exp(x) for x <= 0, relative error below 3e-7; below -87, where fp32 runs out of normal numbers, some value in [0,
// 2e-38]. NaN stays NaN. (Highway's own Exp costs half as much again, and returns nonsense from 104 on.)
HWY_INLINE FloatVec exp_not_positive(FloatVec x) {
  const FloatTag d;
  // In this order, because x86 returns the second operand if one is NaN.
  const FloatVec limited = hn::Max(hn::Set(d, -87.0f), x);
  const FloatVec n = hn::Round(hn::Mul(limited, hn::Set(d, kLog2E)));
  // ln 2 in two parts, the first short enough for n times it to be exact.
  const FloatVec r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), limited));
  FloatVec p = hn::MulAdd(r, hn::Set(d, 1.0f / 720), hn::Set(d, 1.0f / 120));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 24));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 6));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  return times_power_of_two(p, n);
}

// 2^x for what becomes a NativeBF16: relative error 1e-4, a twentieth of what rounding to it costs; 1 at 0. Below -126
// that of -126. NaN stays NaN, and an infinity becomes one.
HWY_INLINE FloatVec exp2_for_bf16(FloatVec x) {
  const FloatTag d;
  const FloatVec limited = hn::Max(hn::Set(d, -126.0f), x);
  const FloatVec n = hn::Round(limited);
  const FloatVec r = hn::Sub(limited, n);
  FloatVec p = hn::MulAdd(r, hn::Set(d, 0.05500893f), hn::Set(d, 0.24221097f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.6932829f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  return times_power_of_two(p, n);
}

// 1 / (1 + e^-x) without a large exponential: with e = e^-|x|, over 1 + e either 1 or e.
HWY_INLINE FloatVec sigmoid(FloatVec x) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0f);
  const FloatVec e = exp_not_positive(hn::Neg(hn::Abs(x)));
  return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
}

// The same for what becomes a NativeBF16: relative error 2e-4, or 1e-38. NaN below -2e38, where 2^x has no end.
HWY_INLINE FloatVec sigmoid_for_bf16(FloatVec x) {
  const FloatTag d;
  const FloatVec divisor = hn::Add(hn::Set(d, 1.0f), exp2_for_bf16(hn::Mul(x, hn::Set(d, -kLog2E))));
#if HWY_TARGET == HWY_AVX3
  return FloatVec{_mm512_rcp14_ps(divisor.raw)};
#else
  return hn::Div(hn::Set(d, 1.0f), divisor);
#endif
}

// tanh(x), relative error below 1e-6. NaN stays NaN.
HWY_INLINE FloatVec tanh_of(FloatVec x) {
  const FloatTag d;
  const FloatVec size = hn::Abs(x);
  const FloatVec one = hn::Set(d, 1.0f);
  const FloatVec e = exp_not_positive(hn::Mul(hn::Set(d, -2.0f), size));
  const FloatVec large = hn::CopySign(hn::Div(hn::Sub(one, e), hn::Add(one, e)), x);
  // Near zero 1 - e would lose its digits: the series.
  const FloatVec s = hn::Mul(x, x);
  FloatVec p = hn::MulAdd(s, hn::Set(d, 62.0f / 2835), hn::Set(d, -17.0f / 315));
  p = hn::MulAdd(p, s, hn::Set(d, 2.0f / 15));
  p = hn::MulAdd(p, s, hn::Set(d, -1.0f / 3));
  const FloatVec small = hn::MulAdd(hn::Mul(x, s), p, x);
  return hn::IfThenElse(hn::Lt(size, hn::Set(d, 0.25f)), small, large);
}

// out[i] = f(a[i], b[i]) for i in [0, n).
template <typename Out, typename F>
HWY_INLINE void map2(const float* a, const float* b, int64_t n, Out* out, const F& f) {
  const FloatTag d;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + 2 * step <= n; i += 2 * step) {
    const FloatVec a0 = hn::LoadU(d, a + i), a1 = hn::LoadU(d, a + i + step);
    const FloatVec b0 = hn::LoadU(d, b + i), b1 = hn::LoadU(d, b + i + step);
    store_as(f(a0, b0), f(a1, b1), out + i);
  }
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
