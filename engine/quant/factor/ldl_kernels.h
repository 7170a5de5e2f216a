// Inside engine/quant/factor only: the work inside the blocks of factor_ldl. Packed rows run backwards, from the
// block's last row to its first: the order of the factorization.
#pragma once

#include <cstdint>

#include "engine/quant/panel/panel.h"

namespace gridquant::quant {

// Two panels: small enough for many blocks side by side, large enough for packing to cost little. Not part of the bits.
inline constexpr int64_t kLdlPanels = 2;
inline constexpr int64_t kLdlBlock = kLdlPanels * kPanelLanes;

// One block of the matrix, at most kLdlBlock each way. Borrowed.
struct LdlRows {
  float* data;
  int64_t stride;
  int64_t rows, cols;
  float* row(int64_t r) const { return data + r * stride; }
};

// Columns [panel * kPanelLanes, ...) of the block, zeros past its end: to [rows][kPanelLanes].
void pack_rows(const LdlRows& block, int64_t panel, float* to);
// And back; of a block on the diagonal only what is below the diagonal.
void unpack_rows(const float* from, int64_t panel, bool on_diagonal, const LdlRows& block);

// Rows times their pivot: to [rows][kLdlBlock].
void scale_rows(const LdlRows& block, const float* pivots, float* to);

// The diagonal block, packed: its `size` pivots, in order of rows, and its rows of A^T. False if one is not positive.
bool factor_diagonal(float* const* panels, int64_t size, float* pivots);

// Rows of one panel, which have lost what later blocks take from them, to rows of A^T: each loses what the rows packed
// before it take, and is divided by its pivot.
void solve_rows(float* panel, int64_t count, const Coefficients& coefficients, const float* pivots);

}  // namespace gridquant::quant
