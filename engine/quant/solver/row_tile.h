// One tile of rows, transposed: [column][row], so that a vector's lanes are rows and no sum ever crosses lanes. That is
// why the width of a vector does not show in the bits. Rows past the weight's end are zeros.
#pragma once

#include <cstdint>
#include <span>

#include "engine/quant/panel/panel.h"
#include "engine/quant/quantized_weight.h"
#include "engine/tensor/tensor.h"

namespace gridquant::quant {

// A tile is a panel.
inline constexpr int64_t kTileRows = kPanelLanes;

inline int64_t tile_count(int64_t rows) {
  return (rows + kTileRows - 1) / kTileRows;
}

// Scratch of one thread; `load` begins a tile, `store` ends it.
class RowTile {
 public:
  RowTile(const GridSpec& grid, int64_t cols);

  // False if a weight is NaN or infinite. Columns with dead[c] != 0 read as zero; `dead` may be empty.
  bool load(tensor::Matrix<const float> w, int64_t tile, std::span<const uint8_t> dead);
  // Writes this tile's rows.
  void store(int64_t tile, QuantizedWeight& out) const;

  int64_t cols() const { return cols_; }
  int64_t groups() const { return grid_.group_count(cols_); }
  int64_t group_of(int64_t column) const { return column / grid_.group_columns(cols_); }
  float* weights(int64_t column) { return floats(weights_, column); }  // kTileRows each
  float* scale(int64_t group) { return floats(scales_, group); }       // fp16 values
  float* zero(int64_t group) { return floats(zeros_, group); }         // integers
  uint8_t* codes(int64_t column) { return reinterpret_cast<uint8_t*>(codes_.data()) + column * kTileRows; }

 private:
  static float* floats(tensor::Buffer& b, int64_t i) { return reinterpret_cast<float*>(b.data()) + i * kTileRows; }

  GridSpec grid_;
  int64_t cols_;
  tensor::Buffer weights_, scales_, zeros_, codes_;
};

}  // namespace gridquant::quant
