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

// How a row becomes exponentials: of score * factor - shift, shift being the largest score * factor.
template <typename Out>
struct Exponential {
  static float factor(float scale) { return kNative<Out> ? scale * kLog2E : scale; }
  static HWY_INLINE FloatVec of(FloatVec score, FloatVec factor, FloatVec shift) {
    const FloatVec x = hn::MulSub(score, factor, shift);
    return kNative<Out> ? exp2_for_bf16(x) : exp_not_positive(x);
  }
};

// kRows rows of scores, `stride` floats apart, as exp((s - max) * scale) at `out`, Outs as far apart; what is at and
// after `valid` (of the first row; one more of each further row) becomes zero, up to `keys`. `out` may be memory of the
// scores as long as no row is written where scores are yet to be read (an Out is never wider than a float). `sums` are
// taken before rounding to Out. Rows side by side, for each is a chain of a few vectors only.
template <int kRows, typename Out>
HWY_INLINE void exponentials(const float* scores, int64_t stride, int64_t valid, int64_t keys, float scale, Out* out,
                             float* sums) {
  const FloatTag d;
  const int64_t whole = valid / kStep * kStep;  // of all rows; the last vector is cut
  FloatVec max[kRows], last[kRows], shift[kRows], sum[kRows];
  for (int r = 0; r < kRows; ++r) {
    last[r] = whole < keys ? hn::Load(d, scores + r * stride + whole) : hn::Zero(d);
    const auto inside = hn::FirstN(d, static_cast<size_t>(valid + r - whole));
    max[r] = hn::IfThenElse(inside, last[r], hn::Set(d, scores[r * stride]));
  }
  for (int64_t i = 0; i < whole; i += kStep) {
    for (int r = 0; r < kRows; ++r) max[r] = hn::Max(max[r], hn::Load(d, scores + r * stride + i));
  }
  const FloatVec factor = hn::Set(d, Exponential<Out>::factor(scale));
  for (int r = 0; r < kRows; ++r) {
    shift[r] = hn::Mul(hn::MaxOfLanes(d, max[r]), factor);
    sum[r] = hn::Zero(d);
  }
  const auto one = [&](int r, int64_t i) HWY_ATTR {
    const FloatVec e = Exponential<Out>::of(hn::Load(d, scores + r * stride + i), factor, shift[r]);
    sum[r] = hn::Add(sum[r], e);
    return e;
  };
  int64_t i = 0;
  for (; i + 2 * kStep <= whole; i += 2 * kStep) {
    for (int r = 0; r < kRows; ++r) {
      const FloatVec first = one(r, i);
      store_as(first, one(r, i + kStep), out + r * stride + i);
    }
  }
  if (i < whole) {
    for (int r = 0; r < kRows; ++r) store_as(one(r, i), out + r * stride + i);
  }
  for (int r = 0; r < kRows; ++r) {
    if (whole < keys) {
      const auto inside = hn::FirstN(d, static_cast<size_t>(valid + r - whole));
      const FloatVec e = hn::IfThenElseZero(inside, Exponential<Out>::of(last[r], factor, shift[r]));
      sum[r] = hn::Add(sum[r], e);
      store_as(e, out + r * stride + whole);
    }
    for (int64_t k = whole + kStep; k < keys; k += kStep) store_as(hn::Zero(d), out + r * stride + k);
    sums[r] = hn::GetLane(hn::SumOfLanes(d, sum[r]));
  }
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
HWY_INLINE void window_row(const SoftmaxTile& t, float* scores, int64_t begin, int64_t valid, float scale, Out* out,
                           float* sum) {
  constexpr float kNone = -1e38f;
  const int64_t whole = begin / kStep * kStep;
  std::fill(scores + whole, scores + begin, kNone);
  exponentials<1, Out>(scores + whole, 0, valid - whole, t.keys - whole, scale, out + whole, sum);
  std::fill(out, out + begin, Out{});
}

// Row after row: what is written of one lies no later than its own scores. That holds for two rows at once but for the
// first one and its neighbour.
template <typename Out>
void softmax_rows(const SoftmaxTile& t) {
  const float scale = t.soft_cap > 0 ? 1.0f : t.scale;
  for (int64_t r = 0, step = 1; r < t.rows; r += step) {
    float* scores = t.scores + r * t.stride;
    Out* out = reinterpret_cast<Out*>(t.scores) + r * t.stride;
    const int64_t valid = t.first_token + r % t.tile_rows + 1;
    const bool two = r > 0 && r % t.tile_rows + 1 < t.tile_rows && (t.window == 0 || valid < t.window);
    step = two ? 2 : 1;
    for (int64_t k = 0; t.soft_cap > 0 && k < step; ++k) {
      cap_scores(scores + k * t.stride, valid + k, t.scale, t.soft_cap);
    }
    float* sums = t.inverse_sums + r;
    if (two) {
      exponentials<2, Out>(scores, t.stride, valid, t.keys, scale, out, sums);
    } else if (t.window > 0 && valid > t.window) {
      window_row<Out>(t, scores, valid - t.window, valid, scale, out, sums);
    } else {
      exponentials<1, Out>(scores, t.stride, valid, t.keys, scale, out, sums);
    }
    for (int64_t k = 0; k < step; ++k) sums[k] = 1.0f / sums[k];
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
  HWY_DYNAMIC_DISPATCH(softmax_to)
  (tile, {compute, reinterpret_cast<std::byte*>(tile.scores), tile.rows, tile.keys, tile.stride});
}

void scale_rows(const float* from, const float* factors, const Operand& to) {
  HWY_DYNAMIC_DISPATCH(scale_rows_to)(from, factors, to);
}

}  // namespace gridquant::ops
#endif
