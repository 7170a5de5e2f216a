// Bodies of solver/transpose.h, in vectors of 128 bits on every processor that has them.
#include "engine/quant/solver/transpose.h"

#include "engine/quant/solver/row_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/quant/solver/transpose.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::quant::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
bool TransposeWeights(const float* from, int64_t stride, int64_t cols, float* to) {
  float not_finite = 0;
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < kWeightBlock; ++r) {
      const float x = from[r * stride + c];
      to[c * kTileRows + r] = x;
      not_finite += x - x;
    }
  }
  return not_finite == 0;
}

void TransposeCodes(const uint8_t* from, int64_t cols, uint8_t* to, int64_t stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < kCodeBlock; ++r) to[r * stride + c] = from[c * kTileRows + r];
  }
}
#else
bool TransposeWeights(const float* from, int64_t stride, int64_t cols, float* to) {
  const hn::FixedTag<float, kWeightBlock> d;
  auto not_finite = hn::Zero(d);  // x - x is NaN for NaN and infinity, else 0
  for (int64_t c = 0; c < cols; c += kWeightBlock, from += kWeightBlock, to += kWeightBlock * kTileRows) {
    const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + stride);
    const auto r2 = hn::LoadU(d, from + 2 * stride), r3 = hn::LoadU(d, from + 3 * stride);
    const auto low02 = hn::InterleaveLower(d, r0, r2), high02 = hn::InterleaveUpper(d, r0, r2);
    const auto low13 = hn::InterleaveLower(d, r1, r3), high13 = hn::InterleaveUpper(d, r1, r3);
    hn::Store(hn::InterleaveLower(d, low02, low13), d, to);
    hn::Store(hn::InterleaveUpper(d, low02, low13), d, to + kTileRows);
    hn::Store(hn::InterleaveLower(d, high02, high13), d, to + 2 * kTileRows);
    hn::Store(hn::InterleaveUpper(d, high02, high13), d, to + 3 * kTileRows);
    const auto first = hn::Add(hn::Sub(r0, r0), hn::Sub(r1, r1)), second = hn::Add(hn::Sub(r2, r2), hn::Sub(r3, r3));
    not_finite = hn::Add(not_finite, hn::Add(first, second));
  }
  return hn::AllTrue(d, hn::Eq(not_finite, hn::Zero(d)));
}

void TransposeCodes(const uint8_t* from, int64_t cols, uint8_t* to, int64_t stride) {
  const hn::FixedTag<uint8_t, kCodeBlock> d;
  for (int64_t c = 0; c < cols; c += kCodeBlock, from += kCodeBlock * kTileRows, to += kCodeBlock) {
    hn::Vec<hn::FixedTag<uint8_t, kCodeBlock>> v[kCodeBlock], shuffled[kCodeBlock];
    for (int64_t i = 0; i < kCodeBlock; ++i) v[i] = hn::LoadU(d, from + i * kTileRows);
    for (int round = 0; round < 4; ++round) {  // of a perfect shuffle: four make the transpose
      for (int64_t i = 0; i < kCodeBlock / 2; ++i) {
        shuffled[2 * i] = hn::InterleaveLower(d, v[i], v[i + kCodeBlock / 2]);
        shuffled[2 * i + 1] = hn::InterleaveUpper(d, v[i], v[i + kCodeBlock / 2]);
      }
      for (int64_t i = 0; i < kCodeBlock; ++i) v[i] = shuffled[i];
    }
    for (int64_t i = 0; i < kCodeBlock; ++i) hn::StoreU(v[i], d, to + i * stride);
  }
}
#endif

}  // namespace gridquant::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::quant {

HWY_EXPORT(TransposeWeights);
HWY_EXPORT(TransposeCodes);

bool transpose_weights(const float* from, int64_t stride, int64_t cols, float* to) {
  return HWY_DYNAMIC_DISPATCH(TransposeWeights)(from, stride, cols, to);
}

void transpose_codes(const uint8_t* from, int64_t cols, uint8_t* to, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(TransposeCodes)(from, cols, to, stride);
}

}  // namespace gridquant::quant
#endif  // HWY_ONCE
