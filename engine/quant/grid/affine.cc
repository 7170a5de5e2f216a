// The affine integer grid: dequantization as every reader of a GPTQ checkpoint does it.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/quant/quantized_weight.h"

namespace gridquant::quant {

void QuantizedWeight::dequantize(tensor::Matrix<float> out) const {
  const int64_t group_cols = grid.group_columns(cols);
  const int64_t group_total = groups();
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* code = codes.data() + r * cols;
    float* to = out.row(r);
    for (int64_t g = 0; g < group_total; ++g) {
      const float scale = tensor::to_float(scales[static_cast<size_t>(r * group_total + g)]);
      const int zero = zeros[static_cast<size_t>(r * group_total + g)];
      const int64_t end = std::min(cols, (g + 1) * group_cols);
      for (int64_t c = g * group_cols; c < end; ++c) to[c] = scale * static_cast<float>(code[c] - zero);
    }
  }
}

void QuantizedWeight::round_row(int64_t r, const float* w, float* out) const {
  const int64_t group_cols = grid.group_columns(cols);
  for (int64_t g = 0; g < groups(); ++g) {
    const float scale = tensor::to_float(scales[static_cast<size_t>(r * groups() + g)]);
    const float zero = zeros[static_cast<size_t>(r * groups() + g)];
    const float low = -zero, high = static_cast<float>(grid.max_code()) - zero;
    const int64_t end = std::min(cols, (g + 1) * group_cols);
    for (int64_t c = g * group_cols; c < end; ++c) {
      out[c] = scale * std::rint(std::clamp(w[c] / scale, low, high));
    }
  }
}

}  // namespace gridquant::quant
