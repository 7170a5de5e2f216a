// Transposition in and out of a tile.
#include "engine/quant/solver/row_tile.h"

#include <algorithm>

#include "engine/quant/solver/transpose.h"

namespace gridquant::quant {
namespace {

constexpr int64_t kColumnsAtOnce = 64;  // of a transposition: what it writes stays in the first-level cache

size_t bytes_of(int64_t count, size_t element) {
  return static_cast<size_t>(count * kTileRows) * element;
}

}  // namespace

RowTile::RowTile(const GridSpec& grid, int64_t cols)
    : grid_(grid),
      cols_(cols),
      weights_(bytes_of(cols, sizeof(float))),
      scales_(bytes_of(grid.group_count(cols), sizeof(float))),
      zeros_(bytes_of(grid.group_count(cols), sizeof(float))),
      codes_(bytes_of(cols, 1)) {}

bool RowTile::load(tensor::Matrix<const float> w, int64_t tile, std::span<const uint8_t> dead) {
  const int64_t begin = tile * kTileRows;
  const int64_t count = std::min(kTileRows, w.rows - begin);
  bool finite = true;
  float not_finite = 0;  // x - x is NaN for NaN and infinity, else 0
  for (int64_t c0 = 0; c0 < cols_; c0 += kColumnsAtOnce) {
    const int64_t c1 = std::min(cols_, c0 + kColumnsAtOnce);
    const int64_t whole_rows = count / kWeightBlock * kWeightBlock;
    const int64_t whole_cols = (c1 - c0) / kWeightBlock * kWeightBlock;
    for (int64_t r = 0; r < whole_rows; r += kWeightBlock) {
      finite &= transpose_weights(w.row(begin + r) + c0, w.stride, whole_cols, weights(c0) + r);
    }
    for (int64_t r = 0; r < count; ++r) {
      const float* from = w.row(begin + r);
      for (int64_t c = r < whole_rows ? c0 + whole_cols : c0; c < c1; ++c) {
        weights(c)[r] = from[c];
        not_finite += from[c] - from[c];
      }
    }
    for (int64_t c = c0; c < c1; ++c) std::fill(weights(c) + count, weights(c) + kTileRows, 0.0f);
  }
  for (size_t c = 0; c < dead.size(); ++c) {
    if (dead[c]) std::fill_n(weights(static_cast<int64_t>(c)), kTileRows, 0.0f);
  }
  return finite && not_finite == 0;
}

void RowTile::store(int64_t tile, QuantizedWeight& out) const {
  const int64_t begin = tile * kTileRows;
  const int64_t count = std::min(kTileRows, out.rows - begin);
  const auto* codes = reinterpret_cast<const uint8_t*>(codes_.data());
  const int64_t whole_rows = count / kCodeBlock * kCodeBlock;
  const int64_t whole_cols = cols_ / kCodeBlock * kCodeBlock;
  uint8_t* to = out.codes.data() + begin * cols_;
  for (int64_t r = 0; r < whole_rows; r += kCodeBlock) transpose_codes(codes + r, whole_cols, to + r * cols_, cols_);
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t c = r < whole_rows ? whole_cols : 0; c < cols_; ++c) to[r * cols_ + c] = codes[c * kTileRows + r];
  }
  const auto* scales = reinterpret_cast<const float*>(scales_.data());
  const auto* zeros = reinterpret_cast<const float*>(zeros_.data());
  const int64_t group_total = groups();
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t g = 0; g < group_total; ++g) {
      const auto at = static_cast<size_t>((begin + r) * group_total + g);
      out.scales[at] = tensor::to_f16(scales[g * kTileRows + r]);
      out.zeros[at] = static_cast<uint8_t>(zeros[g * kTileRows + r]);
    }
  }
}

}  // namespace gridquant::quant
