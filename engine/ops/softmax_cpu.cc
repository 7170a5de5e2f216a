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

// The largest of scores[0, count), count being a multiple of kStep, in some lane; scores[0] if there are none.
HWY_INLINE FloatVec largest(const float* scores, int64_t count) {
  const FloatTag d;
  FloatVec a = hn::Set(d, scores[0]), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + 4 * kStep <= count; i += 4 * kStep) {
    a = hn::Max(a, hn::Load(d, scores + i));
    b = hn::Max(b, hn::Load(d, scores + i + kStep));
    c = hn::Max(c, hn::Load(d, scores + i + 2 * kStep));
    e = hn::Max(e, hn::Load(d, scores + i + 3 * kStep));
  }
  for (; i < count; i += kStep) a = hn::Max(a, hn::Load(d, scores + i));
  return hn::Max(hn::Max(a, b), hn::Max(c, e));
}

// scores[0, valid) -> exp((s - max) * scale) as Out; [valid, keys) -> 0. `out` may be memory of the scores that lies no
// later (an Out is never wider than a float, so writing runs behind reading). Returns the sum, before rounding to Out.
template <typename Out>
HWY_INLINE float exponentials(const float* scores, int64_t valid, int64_t keys, float scale, Out* out) {
  const FloatTag d;
  const int64_t whole = valid / kStep * kStep;
  const auto tail = hn::FirstN(d, static_cast<size_t>(valid - whole));
  const FloatVec last = whole < keys ? hn::Load(d, scores + whole) : hn::Zero(d);
  const FloatVec factor = hn::Set(d, scale);
  FloatVec max = largest(scores, whole);
  if (whole < valid) max = hn::Max(max, hn::IfThenElse(tail, last, max));
  const FloatVec shift = hn::Mul(hn::MaxOfLanes(d, max), factor);
  FloatVec sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * kStep <= whole; i += 2 * kStep) {
    const FloatVec first = hn::MulSub(hn::Load(d, scores + i), factor, shift);
    const FloatVec second = hn::MulSub(hn::Load(d, scores + i + kStep), factor, shift);
    const FloatVec e = exp_not_positive(first), f = exp_not_positive(second);
    sum = hn::Add(hn::Add(sum, e), f);
    store_as(e, f, out + i);
  }
  if (i < whole) {
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
void scale_rows_as(const float* from, const float* factors, const tensor::Matrix<Out>& to) {
  for (int64_t r = 0; r < to.rows; ++r, from += to.cols) {
    const FloatVec f = hn::Set(FloatTag(), factors[r]);
    map2(from, from, to.cols, to.row(r), [&](FloatVec a, FloatVec) HWY_ATTR { return hn::Mul(a, f); });
  }
}

void softmax_to(const SoftmaxTile& tile, const Operand& out) {
  in_type_of(out, [&](const auto& to) HWY_ATTR { softmax_rows<std::remove_reference_t<decltype(*to.data)>>(tile); });
}

void scale_rows_to(const float* from, const float* factors, const Operand& to) {
  in_type_of(to, [&](const auto& matrix) HWY_ATTR { scale_rows_as(from, factors, matrix); });
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(softmax_to);
HWY_EXPORT(scale_rows_to);

void softmax_tile(Compute compute, const SoftmaxTile& tile) {
  const int64_t stride = compute == Compute::kBF16 ? 2 * tile.stride : tile.stride;
  HWY_DYNAMIC_DISPATCH(softmax_to)
  (tile, {compute, reinterpret_cast<std::byte*>(tile.scores), tile.rows, tile.keys, stride});
}

void scale_rows(const float* from, const float* factors, const Operand& to) {
  HWY_DYNAMIC_DISPATCH(scale_rows_to)(from, factors, to);
}

}  // namespace gridquant::ops
#endif
