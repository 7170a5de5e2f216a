// Inside the files that Highway compiles once per vector width: products of a panel, kept in registers. A register tile
// is 8 x 3 vectors where there are 32 registers, 4 x 3 where there are 16; its shape does not show in the bits.
#if defined(GRIDQUANT_ENGINE_QUANT_PANEL_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRIDQUANT_ENGINE_QUANT_PANEL_PANEL_INL_H_
#undef GRIDQUANT_ENGINE_QUANT_PANEL_PANEL_INL_H_
#else
#define GRIDQUANT_ENGINE_QUANT_PANEL_PANEL_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "engine/quant/panel/panel.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::quant::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

constexpr int64_t kVector = static_cast<int64_t>(hn::MaxLanes(D()));
constexpr int64_t kStripLanes = 3 * kVector;
constexpr int64_t kStrip = kVector >= 16 ? 8 : 4;
static_assert(kPanelLanes % kStripLanes == 0);

// Of kRows targets and three vectors of lanes.
template <int64_t kRows>
struct Strip {
  V at[kRows][3];

  HWY_INLINE void load(const float* from) {
    const D d;
    HWY_UNROLL(8)
    for (int64_t t = 0; t < kRows; ++t) {
      at[t][0] = hn::Load(d, from + t * kPanelLanes);
      at[t][1] = hn::Load(d, from + t * kPanelLanes + kVector);
      at[t][2] = hn::Load(d, from + t * kPanelLanes + 2 * kVector);
    }
  }

  HWY_INLINE void store(float* to) const {
    const D d;
    HWY_UNROLL(8)
    for (int64_t t = 0; t < kRows; ++t) {
      hn::Store(at[t][0], d, to + t * kPanelLanes);
      hn::Store(at[t][1], d, to + t * kPanelLanes + kVector);
      hn::Store(at[t][2], d, to + t * kPanelLanes + 2 * kVector);
    }
  }

  // Row t loses its coefficient times the error of each step, in order.
  HWY_INLINE void subtract(const Coefficients& c, const float* errors, int64_t steps) {
    const D d;
    const float* row[kRows];
    HWY_UNROLL(8)
    for (int64_t t = 0; t < kRows; ++t) row[t] = c.data + t * c.target_stride;
    const float* const end = errors + steps * kPanelLanes;
    for (int64_t i = 0; errors != end; errors += kPanelLanes, i += c.step_stride) {
      const V e0 = hn::Load(d, errors), e1 = hn::Load(d, errors + kVector), e2 = hn::Load(d, errors + 2 * kVector);
      HWY_UNROLL(8)
      for (int64_t t = 0; t < kRows; ++t) {
        const V x = hn::Set(d, row[t][i]);
        at[t][0] = hn::NegMulAdd(x, e0, at[t][0]);
        at[t][1] = hn::NegMulAdd(x, e1, at[t][1]);
        at[t][2] = hn::NegMulAdd(x, e2, at[t][2]);
      }
    }
  }
};

template <int64_t kRows>
HWY_INLINE void subtract_strip(float* targets, const Coefficients& c, const float* errors, int64_t steps) {
  for (int64_t lane = 0; lane < kPanelLanes; lane += kStripLanes) {
    Strip<kRows> strip;
    strip.load(targets + lane);
    strip.subtract(c, errors + lane, steps);
    strip.store(targets + lane);
  }
}

HWY_INLINE void subtract_panel(float* targets, int64_t count, const Coefficients& c, const float* errors,
                               int64_t steps) {
  int64_t t = 0;
  for (; t + kStrip <= count; t += kStrip) {
    subtract_strip<kStrip>(targets + t * kPanelLanes, c.from(t, 0), errors, steps);
  }
  for (; t < count; ++t) subtract_strip<1>(targets + t * kPanelLanes, c.from(t, 0), errors, steps);
}

}  // namespace gridquant::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
