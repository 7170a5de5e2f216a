// Transposition in and out of a tile (solver/row_tile.h), whole blocks at a time; what is left at the edges is the
// caller's.
#pragma once

#include <cstdint>

namespace gridquant::quant {

inline constexpr int64_t kWeightBlock = 4;
inline constexpr int64_t kCodeBlock = 16;

// kWeightBlock rows, `stride` apart, of `cols` columns (whole blocks): to[column * kTileRows + row]. False if one is
// NaN or infinite.
bool transpose_weights(const float* from, int64_t stride, int64_t cols, float* to);

// kCodeBlock rows of `cols` columns (whole blocks), from[column * kTileRows + row]: to rows, `stride` apart.
void transpose_codes(const uint8_t* from, int64_t cols, uint8_t* to, int64_t stride);

}  // namespace gridquant::quant
