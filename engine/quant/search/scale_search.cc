// Bodies of search/scale_search.h, once per instruction set (Highway). Nothing here may depend on the number of lanes.
//
// A candidate is a step (the distance of two levels) and, on asymmetric grids, a zero point; on symmetric grids the
// sign of the scale decides which extreme gets the extra code. Each candidate is judged by the least error that *any*
// scale would have with the codes it gives: with a = sum h w c and b = sum h c^2 that is sum h w^2 - a^2 / b, reached
// at the scale a / b. So few candidates cover the range, and the best one's scale is already refitted.
#include "engine/quant/search/scale_search.h"

#include <array>
#include <span>

#include "engine/quant/search/candidates.h"
#include "engine/quant/solver/row_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/quant/search/scale_search.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::quant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

constexpr float kLeastScale = 0x1p-24f;  // the smallest subnormal of fp16
constexpr float kMostScale = 65504.0f;   // the largest fp16
constexpr float kZeroGroup = 0x1p-26f;   // below this no fp16 scale gives any code but zero's

// To the nearest fp16 that is not zero or infinite, ties to even; as float.
HWY_INLINE V to_f16_value(D d, V x) {
  const hn::RebindToUnsigned<D> du;
  const V magnitude = hn::Min(hn::Max(hn::Abs(x), hn::Set(d, kLeastScale)), hn::Set(d, kMostScale));
  const auto bits = hn::BitCast(du, magnitude);
  const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x0fffu)), odd);
  const V normal = hn::BitCast(d, hn::And(rounded, hn::Set(du, 0xffffe000u)));
  // Subnormals of fp16 are multiples of 2^-24, which is what floats in [0.5, 1) are.
  const V half = hn::Set(d, 0.5f);
  const V subnormal = hn::Sub(hn::Add(magnitude, half), half);
  const V value = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x1p-14f)), subnormal, normal);
  return hn::CopySign(value, x);
}

// Codes are counted from the zero point here: `low` is -zero, `high` the largest code minus zero.
struct Levels {
  V low, high;
};

struct Best {
  V score;  // sum h w^2 minus the error: more is better
  V scale;
  V low;
};

HWY_INLINE V within(V level, const Levels& levels) {
  return hn::Min(hn::Max(level, levels.low), levels.high);
}

HWY_INLINE V level_of(V w, V inverse, const Levels& levels) {
  return within(hn::Round(hn::Mul(w, inverse)), levels);
}

HWY_INLINE void keep_better(D d, Best& best, V low, V a, V b) {
  const V score = hn::IfThenElseZero(hn::Gt(b, hn::Zero(d)), hn::Div(hn::Mul(a, a), b));
  const auto better = hn::Gt(score, best.score);
  best.score = hn::IfThenElse(better, score, best.score);
  best.scale = hn::IfThenElse(better, hn::Div(a, b), best.scale);
  best.low = hn::IfThenElse(better, low, best.low);
}

// Of one step: what its score and its least-squares scale are made of.
struct Sums {
  V a, b;  // sum h q w, sum h q^2
  HWY_INLINE explicit Sums(D d) : a(hn::Zero(d)), b(hn::Zero(d)) {}
  HWY_INLINE void add(V w, V h, V q) {
    const V hq = hn::Mul(h, q);
    a = hn::Add(a, hn::Mul(hq, w)), b = hn::Add(b, hn::Mul(hq, q));
  }
};

// Four steps on the same levels at once: a weight is loaded once, and four chains of additions hide their latency.
HWY_INLINE void try_four(D d, const GroupTile& group, int64_t r, const std::array<V, 4>& inverse, const Levels& levels,
                         Best& best) {
  const V i0 = inverse[0], i1 = inverse[1], i2 = inverse[2], i3 = inverse[3];
  Sums s0(d), s1(d), s2(d), s3(d);
  const float* from = group.w + r;
  for (int64_t c = 0; c < group.cols; ++c, from += kTileRows) {
    const V w = hn::Load(d, from);
    const V h = hn::Set(d, group.importance[c]);
    s0.add(w, h, level_of(w, i0, levels));
    s1.add(w, h, level_of(w, i1, levels));
    s2.add(w, h, level_of(w, i2, levels));
    s3.add(w, h, level_of(w, i3, levels));
  }
  for (const Sums& s : {s0, s1, s2, s3}) keep_better(d, best, levels.low, s.a, s.b);
}

// Two steps, each with both signs of the scale: the codes of the negative one are those of the positive one, negated,
// but for the limits.
HWY_INLINE void try_both_signs(D d, const GroupTile& group, int64_t r, V i0, V i1, const Levels& levels, Best& best) {
  const Levels mirrored{hn::Neg(levels.high), hn::Neg(levels.low)};
  Sums plus0(d), plus1(d), minus0(d), minus1(d);
  const float* from = group.w + r;
  for (int64_t c = 0; c < group.cols; ++c, from += kTileRows) {
    const V w = hn::Load(d, from);
    const V h = hn::Set(d, group.importance[c]);
    const V level0 = hn::Round(hn::Mul(w, i0)), level1 = hn::Round(hn::Mul(w, i1));
    plus0.add(w, h, within(level0, levels));
    plus1.add(w, h, within(level1, levels));
    minus0.add(w, h, within(level0, mirrored));
    minus1.add(w, h, within(level1, mirrored));
  }
  for (const Sums& s : {plus0, plus1}) keep_better(d, best, levels.low, s.a, s.b);
  for (const Sums& s : {minus0, minus1}) keep_better(d, best, levels.low, hn::Neg(s.a), s.b);
}

// The true error of a scale with its own codes, and the sums that refit it.
struct Measured {
  V error, a, b;
};

HWY_INLINE Measured measure(D d, const GroupTile& group, int64_t r, V scale, const Levels& levels) {
  const V inverse = hn::Div(hn::Set(d, 1.0f), scale);
  Measured m{hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  const float* from = group.w + r;
  for (int64_t c = 0; c < group.cols; ++c, from += kTileRows) {
    const V w = hn::Load(d, from);
    const V h = hn::Set(d, group.importance[c]);
    const V q = level_of(w, inverse, levels);
    const V miss = hn::Sub(w, hn::Mul(scale, q));
    const V hq = hn::Mul(h, q);
    m.error = hn::Add(m.error, hn::Mul(hn::Mul(h, miss), miss));
    m.a = hn::Add(m.a, hn::Mul(hq, w));
    m.b = hn::Add(m.b, hn::Mul(hq, q));
  }
  return m;
}

struct Range {
  V low, high;  // of the weights, zero included
};

HWY_INLINE Range range_of(D d, const GroupTile& group, int64_t r) {
  Range range{hn::Zero(d), hn::Zero(d)};
  const float* from = group.w + r;
  for (int64_t c = 0; c < group.cols; ++c, from += kTileRows) {
    const V w = hn::Load(d, from);
    range.low = hn::Min(range.low, w);
    range.high = hn::Max(range.high, w);
  }
  return range;
}

// `factors` times `base`, four at a time.
HWY_INLINE void try_all(D d, const GroupTile& group, int64_t r, std::span<const float> factors, V base,
                        const Levels& levels, Best& best) {
  for (size_t i = 0; i + 4 <= factors.size(); i += 4) {
    const std::array<V, 4> inverse = {hn::Mul(base, hn::Set(d, factors[i])), hn::Mul(base, hn::Set(d, factors[i + 1])),
                                      hn::Mul(base, hn::Set(d, factors[i + 2])),
                                      hn::Mul(base, hn::Set(d, factors[i + 3]))};
    try_four(d, group, r, inverse, levels, best);
  }
}

// Rounds the best scale to fp16, then alternates codes and least-squares scale while that helps; keeps the least error.
HWY_INLINE V polish(D d, const GroupTile& group, int64_t r, V scale, const Levels& levels, int rounds) {
  V best_scale = to_f16_value(d, scale);
  Measured m = measure(d, group, r, best_scale, levels);
  V best_error = m.error;
  for (int i = 0; i < rounds; ++i) {
    const auto fits = hn::Gt(m.b, hn::Zero(d));
    const V next = to_f16_value(d, hn::IfThenElse(fits, hn::Div(m.a, m.b), best_scale));
    m = measure(d, group, r, next, levels);
    const auto better = hn::Lt(m.error, best_error);
    best_error = hn::IfThenElse(better, m.error, best_error);
    best_scale = hn::IfThenElse(better, next, best_scale);
  }
  return best_scale;
}

struct Choice {
  V scale, zero;
};

HWY_INLINE Choice choose_range(D d, const Range& range, const GridSpec& grid) {
  const V codes = hn::Set(d, static_cast<float>(grid.max_code()));
  if (grid.symmetric) {
    const V extreme = hn::Max(hn::Neg(range.low), range.high);
    const V scale = hn::Div(hn::Add(extreme, extreme), codes);
    return {to_f16_value(d, scale), hn::Set(d, static_cast<float>(1 << (grid.bits - 1)))};
  }
  const V scale = to_f16_value(d, hn::Div(hn::Sub(range.high, range.low), codes));
  const V zero = hn::Round(hn::Div(hn::Neg(range.low), scale));
  return {scale, hn::Min(hn::Max(zero, hn::Set(d, 1.0f)), codes)};
}

HWY_INLINE Choice choose_symmetric(D d, const GroupTile& group, int64_t r, const Range& range, const GridSpec& grid) {
  const Candidates& c = candidates_for(grid);
  const float half = static_cast<float>(1 << (grid.bits - 1));
  const Levels levels{hn::Set(d, -half), hn::Set(d, half - 1)};
  const V extreme = hn::Max(hn::Neg(range.low), range.high);
  const V base = hn::Div(hn::Set(d, half), extreme);  // the extreme at the end of the longer side
  const Choice start = choose_range(d, range, grid);
  Best best{hn::Zero(d), start.scale, levels.low};
  for (size_t i = 0; i + 2 <= c.steps.size(); i += 2) {
    const V first = hn::Mul(base, hn::Set(d, c.steps[i])), second = hn::Mul(base, hn::Set(d, c.steps[i + 1]));
    try_both_signs(d, group, r, first, second, levels, best);
  }
  return {polish(d, group, r, best.scale, levels, c.rounds), start.zero};
}

HWY_INLINE Choice choose_asymmetric(D d, const GroupTile& group, int64_t r, const Range& range, const GridSpec& grid) {
  const Candidates& c = candidates_for(grid);
  const V codes = hn::Set(d, static_cast<float>(grid.max_code()));
  const V one = hn::Set(d, 1.0f);
  const Choice start = choose_range(d, range, grid);
  const V base = hn::Div(codes, hn::Sub(range.high, range.low));
  Best best{hn::Zero(d), start.scale, hn::Neg(start.zero)};
  for (const float shift : c.zero_shifts) {
    const V zero = hn::Min(hn::Max(hn::Add(start.zero, hn::Set(d, shift)), one), codes);
    try_all(d, group, r, c.steps, base, {hn::Neg(zero), hn::Sub(codes, zero)}, best);
  }
  const Levels levels{best.low, hn::Add(codes, best.low)};
  return {polish(d, group, r, best.scale, levels, c.rounds), hn::Neg(best.low)};
}

void SearchGroup(const GroupTile& group, const GridSpec& grid, ScaleSearch search, GroupScales out) {
  const D d;
  for (int64_t r = 0; r < kTileRows; r += static_cast<int64_t>(hn::Lanes(d))) {
    const Range range = range_of(d, group, r);
    const bool whole = search == ScaleSearch::kAbsMax;
    const Choice choice = whole            ? choose_range(d, range, grid)
                          : grid.symmetric ? choose_symmetric(d, group, r, range, grid)
                                           : choose_asymmetric(d, group, r, range, grid);
    const auto zeros = hn::Lt(hn::Sub(range.high, range.low), hn::Set(d, kZeroGroup));
    hn::Store(hn::IfThenElse(zeros, hn::Set(d, 1.0f), choice.scale), d, out.scale + r);
    hn::Store(choice.zero, d, out.zero + r);
  }
}

}  // namespace gridquant::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::quant {

HWY_EXPORT(SearchGroup);

void search_group(const GroupTile& group, const GridSpec& grid, ScaleSearch search, GroupScales out) {
  HWY_DYNAMIC_DISPATCH(SearchGroup)(group, grid, search, out);
}

}  // namespace gridquant::quant
#endif  // HWY_ONCE
