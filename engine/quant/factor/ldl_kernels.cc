// Bodies of factor/ldl_kernels.h, once per vector width.
#include "engine/quant/factor/ldl_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/quant/factor/ldl_kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/quant/panel/panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::quant::HWY_NAMESPACE {

void ScaleRows(const LdlRows& block, const float* pivots, float* to) {
  for (int64_t r = block.rows - 1; r >= 0; --r, to += kLdlBlock) {
    const float* from = block.row(r);
    for (int64_t c = 0; c < block.cols; ++c) to[c] = from[c] * pivots[r];
  }
}

HWY_INLINE void scale_lanes(float* row, float factor) {
  const D d;
  for (int64_t lane = 0; lane < kPanelLanes; lane += kVector) {
    hn::Store(hn::Mul(hn::Load(d, row + lane), hn::Set(d, factor)), d, row + lane);
  }
}

bool FactorDiagonal(float* const* panels, int64_t size, float* pivots) {
  for (int64_t p = 0; p < size; ++p) {
    const int64_t j = size - 1 - p;
    const auto entry = [&](int64_t column) {
      return panels[column / kPanelLanes] + p * kPanelLanes + column % kPanelLanes;
    };
    const float pivot = *entry(j);
    if (!(pivot > 0) || std::isinf(pivot)) return false;
    pivots[j] = pivot;
    for (int64_t k = 0; k * kPanelLanes < j; ++k) scale_lanes(panels[k] + p * kPanelLanes, 1.0f / pivot);
    for (int64_t before = j - 1; before >= 0; --before) {
      const float coefficient = *entry(before) * pivot;
      for (int64_t k = 0; k * kPanelLanes <= before; ++k) {
        float* target = panels[k] + (size - 1 - before) * kPanelLanes;
        subtract_panel(target, 1, {&coefficient, 0, 0}, panels[k] + p * kPanelLanes, 1);
      }
    }
  }
  return true;
}

void SolveRows(float* panel, int64_t count, const Coefficients& coefficients, const float* pivots) {
  for (int64_t p0 = 0; p0 < count; p0 += kStrip) {
    const int64_t end = std::min(count, p0 + kStrip);
    subtract_panel(panel + p0 * kPanelLanes, end - p0, coefficients.from(p0, 0), panel, p0);
    for (int64_t p = p0; p < end; ++p) {
      float* row = panel + p * kPanelLanes;
      subtract_panel(row, 1, coefficients.from(p, p0), panel + p0 * kPanelLanes, p - p0);
      scale_lanes(row, 1.0f / pivots[count - 1 - p]);
    }
  }
}

}  // namespace gridquant::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::quant {

HWY_EXPORT(ScaleRows);
HWY_EXPORT(FactorDiagonal);
HWY_EXPORT(SolveRows);

void scale_rows(const LdlRows& block, const float* pivots, float* to) {
  HWY_DYNAMIC_DISPATCH(ScaleRows)(block, pivots, to);
}

bool factor_diagonal(float* const* panels, int64_t size, float* pivots) {
  return HWY_DYNAMIC_DISPATCH(FactorDiagonal)(panels, size, pivots);
}

void solve_rows(float* panel, int64_t count, const Coefficients& coefficients, const float* pivots) {
  HWY_DYNAMIC_DISPATCH(SolveRows)(panel, count, coefficients, pivots);
}

void pack_rows(const LdlRows& block, int64_t panel, float* to) {
  const int64_t begin = panel * kPanelLanes;
  const int64_t cols = std::min(kPanelLanes, block.cols - begin);
  for (int64_t r = block.rows - 1; r >= 0; --r, to += kPanelLanes) {
    if (cols == kPanelLanes) {
      std::memcpy(to, block.row(r) + begin, kPanelLanes * sizeof(float));
    } else {
      std::copy_n(block.row(r) + begin, cols, to);
      std::fill(to + cols, to + kPanelLanes, 0.0f);
    }
  }
}

void unpack_rows(const float* from, int64_t panel, bool on_diagonal, const LdlRows& block) {
  const int64_t begin = panel * kPanelLanes;
  for (int64_t r = block.rows - 1; r >= 0; --r, from += kPanelLanes) {
    const int64_t cols = std::min(kPanelLanes, (on_diagonal ? r : block.cols) - begin);
    if (cols > 0) std::copy_n(from, cols, block.row(r) + begin);
  }
}

}  // namespace gridquant::quant
#endif  // HWY_ONCE
