// The softmax steps of attention, vectorised. See softmax.h.
#include "engine/ops/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/softmax_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(FloatTag()));

// scores[0, valid) -> exp((s - max) * scale) as Out; [valid, keys) -> 0. `out` may be memory of the scores that lies no
// later (an Out is never wider than a float, so writing runs behind reading). Returns the sum, before rounding to Out.
template <typename Out>
HWY_INLINE float exponentials(const float* scores, int64_t valid, int64_t keys, float scale, Out* out) {
  const FloatTag d;
  const int64_t whole = valid / kStep * kStep;
  FloatVec max = hn::Set(d, scores[0]);
  for (int64_t i = 0; i < whole; i += kStep) max = hn::Max(max, hn::Load(d, scores + i));
  const auto tail = hn::FirstN(d, static_cast<size_t>(valid - whole));
  const FloatVec last = whole < keys ? hn::Load(d, scores + whole) : hn::Zero(d);
  if (whole < valid) max = hn::Max(max, hn::IfThenElse(tail, last, max));
  const FloatVec factor = hn::Set(d, scale);
  const FloatVec shift = hn::Mul(hn::MaxOfLanes(d, max), factor);
  FloatVec sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += kStep) {
    const FloatVec e = exp_not_positive(hn::MulSub(hn::Load(d, scores + i), factor, shift));
    sum = hn::Add(sum, e);
    store_as(e, out + i);
  }
  int64_t done = whole;
  if (whole < valid) {
    const FloatVec e = hn::IfThenElseZero(tail, exp_not_positive(hn::MulSub(last, factor, shift)));
    sum = hn::Add(sum, e);
    store_as(e, out + whole);
    done += kStep;
  }
  for (; done < keys; done += kStep) store_as(hn::Zero(d), out + done);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// scores[0, n) -> cap * tanh(score * scale / cap), and whatever is in the rest of the last vector.
HWY_INLINE void cap_scores(float* scores, int64_t n, float scale, float cap) {
  const FloatTag d;
  const FloatVec limit = hn::Set(d, cap);
  const FloatVec factor = hn::Set(d, scale / cap);
  for (int64_t i = 0; i < n; i += kStep) {
    hn::Store(hn::Mul(limit, tanh_of(hn::Mul(hn::Load(d, scores + i), factor))), d, scores + i);
  }
}

// The row of a token that attends to the keys [begin, valid): whole vectors before `begin` are left out, and what the
// first vector has too much becomes a score that does not count.
template <typename Out>
HWY_INLINE float window_row(const SoftmaxTile& t, float* scores, int64_t begin, int64_t valid, float scale) {
  constexpr float kNone = -3e38f;
  const int64_t whole = begin / kStep * kStep;
  std::fill(scores + whole, scores + begin, kNone);
  Out* out = reinterpret_cast<Out*>(scores);
  const float sum = exponentials<Out>(scores + whole, valid - whole, t.keys - whole, scale, out + whole);
  std::fill(out, out + begin, Out{});
  return sum;
}

// `scores` has rows of `stride` floats, aligned to 64 bytes; row r belongs to token first_token + r % tile_rows.
template <typename Out>
void softmax_rows(const SoftmaxTile& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    float* scores = t.scores + r * t.stride;
    const int64_t valid = t.first_token + r % t.tile_rows + 1;
    const float scale = t.soft_cap > 0 ? 1.0f : t.scale;
    if (t.soft_cap > 0) cap_scores(scores, valid, t.scale, t.soft_cap);
    const bool cut = t.window > 0 && valid > t.window;
    const float sum = cut ? window_row<Out>(t, scores, valid - t.window, valid, scale)
                          : exponentials<Out>(scores, valid, t.keys, scale, reinterpret_cast<Out*>(scores));
    t.inverse_sums[r] = 1.0f / sum;
  }
}

template <typename Out>
HWY_INLINE void scale_row(const float* from, float factor, int64_t n, Out* to) {
  const FloatVec f = hn::Set(FloatTag(), factor);
  map2(from, from, n, to, [&](FloatVec a, FloatVec) HWY_ATTR { return hn::Mul(a, f); });
}

void softmax_f32(const SoftmaxTile& tile) {
  softmax_rows<float>(tile);
}
void softmax_bf16(const SoftmaxTile& tile) {
  softmax_rows<tensor::BF16>(tile);
}
void scale_row_f32(const float* from, float factor, int64_t n, float* to) {
  scale_row(from, factor, n, to);
}
void scale_row_bf16(const float* from, float factor, int64_t n, tensor::BF16* to) {
  scale_row(from, factor, n, to);
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(softmax_f32);
HWY_EXPORT(softmax_bf16);
HWY_EXPORT(scale_row_f32);
HWY_EXPORT(scale_row_bf16);

void softmax_tile(Compute compute, const SoftmaxTile& tile) {
  if (compute == Compute::kBF16) {
    HWY_DYNAMIC_DISPATCH(softmax_bf16)(tile);
  } else {
    HWY_DYNAMIC_DISPATCH(softmax_f32)(tile);
  }
}

void scale_row(const float* from, float factor, const Operand& to) {
  if (to.compute == Compute::kBF16) {
    HWY_DYNAMIC_DISPATCH(scale_row_bf16)(from, factor, to.cols, to.bf16().data);
  } else {
    HWY_DYNAMIC_DISPATCH(scale_row_f32)(from, factor, to.cols, to.f32().data);
  }
}

}  // namespace gridquant::ops
#endif
