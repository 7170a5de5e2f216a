// The fp32 kernel of ops/gram_tile.h, at every vector width: a step is a row (of bf16: widened), a register tile 8 x 3
// vectors where there are 32 registers, 4 x 3 where there are 16.
#include <algorithm>

#include "engine/ops/gram_panels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/gram_f32_cpu.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::ops::HWY_NAMESPACE {

HWY_INLINE FloatVec load_wide(const float* from) {
  return hn::LoadU(FloatTag(), from);
}

HWY_INLINE FloatVec load_wide(const tensor::BF16* from) {
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::Rebind<uint16_t, FloatTag> d16;
  const auto bits = hn::PromoteTo(du, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from)));
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(bits));
}

HWY_INLINE float widen(float x) {
  return x;
}
HWY_INLINE float widen(tensor::BF16 x) {
  return tensor::to_float(x);
}

template <typename T>
struct F32Kernel {
  using Element = float;
  static constexpr int64_t kRowsPerStep = 1;
  static constexpr int64_t kVector = static_cast<int64_t>(hn::MaxLanes(FloatTag()));
  static constexpr int64_t kStrip = kVector >= 16 ? 8 : kVector >= 4 ? 4 : 3;
  static constexpr int64_t kPanel = 3 * kVector;
  static constexpr int64_t kChunkSteps = 128;  // a panel of 24 KiB where the L1 cache has 48, of 12 where it has 32

  static void pack(const Operand& operand, float* to, int64_t panel_stride) {
    constexpr int64_t kPackSteps = 8;  // packed at a time, so that whole cache lines of x are used while they are near
    const FloatTag d;
    const T* data = reinterpret_cast<const T*>(operand.data);
    for (int64_t block = 0; block < operand.rows; block += kPackSteps) {
      const int64_t end = std::min(block + kPackSteps, operand.rows);
      float* panel = to;
      for (int64_t c = 0; c < operand.cols; c += kPanel, panel += panel_stride) {
        const int64_t columns = std::min(kPanel, operand.cols - c);
        for (int64_t step = block; step < end; ++step) {
          const T* from = data + step * operand.stride + c;
          float* out = panel + step * kPanel;
          if (columns == kPanel) {
            hn::StoreU(load_wide(from), d, out);
            hn::StoreU(load_wide(from + kVector), d, out + kVector);
            hn::StoreU(load_wide(from + 2 * kVector), d, out + 2 * kVector);
          } else {
            for (int64_t i = 0; i < kPanel; ++i) out[i] = i < columns ? widen(from[i]) : 0.0f;
          }
        }
      }
    }
  }

  template <int kFrom>
  static void multiply(const float* left, const float* right, int64_t steps, bool add,
                       const tensor::Matrix<float>& sum) {
    const FloatTag d;
    FloatVec a[kStrip][3];
    HWY_UNROLL(8)
    for (int64_t i = 0; i < kStrip; ++i) {
      HWY_UNROLL(3)
      for (int64_t v = kFrom; v < 3; ++v) a[i][v] = add ? hn::LoadU(d, sum.row(i) + v * kVector) : hn::Zero(d);
    }
    for (int64_t step = 0; step < steps; ++step, left += kPanel, right += kPanel) {
      FloatVec b[3];
      HWY_UNROLL(3)
      for (int64_t v = kFrom; v < 3; ++v) b[v] = hn::LoadU(d, right + v * kVector);
      HWY_UNROLL(8)
      for (int64_t i = 0; i < kStrip; ++i) {
        const FloatVec x = hn::Set(d, left[i]);
        HWY_UNROLL(3)
        for (int64_t v = kFrom; v < 3; ++v) a[i][v] = hn::MulAdd(x, b[v], a[i][v]);
      }
    }
    HWY_UNROLL(8)
    for (int64_t i = 0; i < kStrip; ++i) {
      HWY_UNROLL(3)
      for (int64_t v = kFrom; v < 3; ++v) hn::StoreU(a[i][v], d, sum.row(i) + v * kVector);
    }
  }
};

void gram_tile_any(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace) {
  if (x.compute == Compute::kBF16) {
    GramPanels<F32Kernel<tensor::BF16>>::run(x, tile, sum, workspace);
  } else {
    GramPanels<F32Kernel<float>>::run(x, tile, sum, workspace);
  }
}

}  // namespace gridquant::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::ops {

HWY_EXPORT(gram_tile_any);

void gram_tile_f32(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace) {
  HWY_DYNAMIC_DISPATCH(gram_tile_any)(x, tile, sum, workspace);
}

}  // namespace gridquant::ops
#endif
