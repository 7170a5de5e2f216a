// Bodies of solver/tile_kernels.h, once per instruction set (Highway). Nothing here may depend on the number of lanes.
#include "engine/quant/solver/tile_kernels.h"

#include <algorithm>

#include "engine/quant/solver/row_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/quant/solver/tile_kernels.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "engine/quant/panel/panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::quant::HWY_NAMESPACE {
// The rounded weight; its code goes to column.codes.
HWY_INLINE V round_to_grid(D d, V w, const TileColumn& column, int64_t r, V max_code) {
  const hn::Rebind<int32_t, D> d_int;
  const hn::Rebind<uint8_t, D> d_code;
  const V scale = hn::Load(d, column.scale + r);
  const V zero = hn::Load(d, column.zero + r);
  const V level = hn::Add(hn::Round(hn::Div(w, scale)), zero);
  const V code = hn::Min(hn::Max(level, hn::Zero(d)), max_code);
  hn::StoreU(hn::DemoteTo(d_code, hn::ConvertTo(d_int, code)), d_code, column.codes + r);
  return hn::Mul(scale, hn::Sub(code, zero));
}

HWY_INLINE V error_of(D d, V target, const TileColumn& column, V max_code, int64_t r) {
  return hn::Sub(round_to_grid(d, target, column, r, max_code), hn::Load(d, column.weights + r));
}

// Columns [j0, j0 + kRows) of the block: what they lose to the columns before them, then one after the other, each
// correcting the ones that are still in registers.
template <int64_t kRows>
HWY_INLINE void solve_strip(const GptqBlock& block, int64_t j0) {
  const D d;
  const V max_code = hn::Set(d, block.max_code);
  float* targets = block.targets + j0 * kPanelLanes;
  const Coefficients own = block.feedback.from(j0, j0);
  for (int64_t lane = 0; lane < kPanelLanes; lane += kStripLanes) {
    Strip<kRows> strip;
    strip.load(targets + lane);
    strip.subtract(block.feedback.from(j0, 0), block.targets + lane, j0);
    HWY_UNROLL(8)
    for (int64_t t = 0; t < kRows; ++t) {
      const TileColumn& column = block.columns[static_cast<size_t>(j0 + t)];
      const V e0 = error_of(d, strip.at[t][0], column, max_code, lane);
      const V e1 = error_of(d, strip.at[t][1], column, max_code, lane + kVector);
      const V e2 = error_of(d, strip.at[t][2], column, max_code, lane + 2 * kVector);
      strip.at[t][0] = e0, strip.at[t][1] = e1, strip.at[t][2] = e2;
      HWY_UNROLL(8)
      for (int64_t later = 0; later < kRows; ++later) {
        if (later <= t) continue;
        const V a = hn::Set(d, *own.from(later, t).data);
        strip.at[later][0] = hn::NegMulAdd(a, e0, strip.at[later][0]);
        strip.at[later][1] = hn::NegMulAdd(a, e1, strip.at[later][1]);
        strip.at[later][2] = hn::NegMulAdd(a, e2, strip.at[later][2]);
      }
    }
    strip.store(targets + lane);
  }
}

void SolveBlock(const GptqBlock& block) {
  const auto count = static_cast<int64_t>(block.columns.size());
  int64_t j = 0;
  for (; j + kStrip <= count; j += kStrip) solve_strip<kStrip>(block, j);
  for (; j < count; ++j) solve_strip<1>(block, j);
}

void RoundColumns(std::span<const TileColumn> columns, float max_code) {
  const D d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const V limit = hn::Set(d, max_code);
  for (const TileColumn& column : columns) {
    for (int64_t r = 0; r < kTileRows; r += n) round_to_grid(d, hn::Load(d, column.weights + r), column, r, limit);
  }
}

void MeasureColumns(std::span<const TileColumn> columns, const float* importance, TileError out) {
  const D d;
  const hn::Rebind<int32_t, D> d_int;
  const hn::Rebind<uint8_t, D> d_code;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  constexpr size_t kColumnsInF32 = 64;
  HWY_ALIGN float error_sum[16];
  HWY_ALIGN float energy_sum[16];
  for (int64_t r = 0; r < kTileRows; r += n) {
    for (size_t c0 = 0; c0 < columns.size(); c0 += kColumnsInF32) {
      V error = hn::Zero(d), energy = hn::Zero(d);
      for (size_t c = c0; c < std::min(columns.size(), c0 + kColumnsInF32); ++c) {
        const TileColumn& column = columns[c];
        const V weight = hn::Load(d, column.weights + r);
        const V code = hn::ConvertTo(d, hn::PromoteTo(d_int, hn::LoadU(d_code, column.codes + r)));
        const V q = hn::Mul(hn::Load(d, column.scale + r), hn::Sub(code, hn::Load(d, column.zero + r)));
        const V h = hn::Set(d, importance[c]);
        const V miss = hn::Sub(weight, q);
        error = hn::Add(error, hn::Mul(h, hn::Mul(miss, miss)));
        energy = hn::Add(energy, hn::Mul(h, hn::Mul(weight, weight)));
      }
      hn::Store(error, d, error_sum);
      hn::Store(energy, d, energy_sum);
      for (int64_t i = 0; i < n; ++i) {
        out.error[r + i] += error_sum[i];
        out.energy[r + i] += energy_sum[i];
      }
    }
  }
}

}  // namespace gridquant::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::quant {

HWY_EXPORT(SolveBlock);
HWY_EXPORT(RoundColumns);
HWY_EXPORT(MeasureColumns);

void solve_block(const GptqBlock& block) {
  HWY_DYNAMIC_DISPATCH(SolveBlock)(block);
}

void round_columns(std::span<const TileColumn> columns, float max_code) {
  HWY_DYNAMIC_DISPATCH(RoundColumns)(columns, max_code);
}

void measure_columns(std::span<const TileColumn> columns, const float* importance, TileError out) {
  HWY_DYNAMIC_DISPATCH(MeasureColumns)(columns, importance, out);
}

}  // namespace gridquant::quant
#endif  // HWY_ONCE
