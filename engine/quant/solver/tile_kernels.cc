// Bodies of solver/tile_kernels.h, once per instruction set (Highway). Nothing here may depend on the number of lanes.
#include "engine/quant/solver/tile_kernels.h"

#include <algorithm>

#include "engine/quant/solver/row_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/quant/solver/tile_kernels.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::quant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr int64_t kUnroll = 6;  // kTileRows is a multiple of 6 * 16

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

HWY_INLINE void finish_column(D d, V target, const TileColumn& column, V max_code, float* to, int64_t r) {
  const V q = round_to_grid(d, target, column, r, max_code);
  hn::Store(hn::Sub(q, hn::Load(d, column.weights + r)), d, to + r);
}

// Named accumulators, not an array: they must stay in registers whatever the optimizer thinks of unrolling.
void SolveBlock(const GptqBlock& block) {
  const D d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const V max_code = hn::Set(d, block.max_code);
  for (int64_t r = 0; r < kTileRows; r += kUnroll * n) {
    for (size_t j = 0; j < block.columns.size(); ++j) {
      float* to = block.targets + static_cast<int64_t>(j) * kTileRows;
      const float* feedback = block.feedback_t + static_cast<int64_t>(j) * block.feedback_t_stride;
      V w0 = hn::Load(d, to + r), w1 = hn::Load(d, to + r + n), w2 = hn::Load(d, to + r + 2 * n);
      V w3 = hn::Load(d, to + r + 3 * n), w4 = hn::Load(d, to + r + 4 * n), w5 = hn::Load(d, to + r + 5 * n);
      const float* error = block.targets + r;
      for (size_t i = 0; i < j; ++i, error += kTileRows) {
        const V a = hn::Set(d, feedback[i]);
        w0 = hn::Sub(w0, hn::Mul(hn::Load(d, error), a));
        w1 = hn::Sub(w1, hn::Mul(hn::Load(d, error + n), a));
        w2 = hn::Sub(w2, hn::Mul(hn::Load(d, error + 2 * n), a));
        w3 = hn::Sub(w3, hn::Mul(hn::Load(d, error + 3 * n), a));
        w4 = hn::Sub(w4, hn::Mul(hn::Load(d, error + 4 * n), a));
        w5 = hn::Sub(w5, hn::Mul(hn::Load(d, error + 5 * n), a));
      }
      const TileColumn& column = block.columns[j];
      finish_column(d, w0, column, max_code, to, r);
      finish_column(d, w1, column, max_code, to, r + n);
      finish_column(d, w2, column, max_code, to, r + 2 * n);
      finish_column(d, w3, column, max_code, to, r + 3 * n);
      finish_column(d, w4, column, max_code, to, r + 4 * n);
      finish_column(d, w5, column, max_code, to, r + 5 * n);
    }
  }
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
