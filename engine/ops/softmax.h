// Inside engine/ops only: the softmax steps of attention. Not an op of its own.
#pragma once

#include "engine/ops/operand.h"

namespace gridquant::ops {

// Scores of one tile of queries, rows of `stride` floats (a multiple of 16) aligned to 64 bytes. Row r belongs to token
// first_token + r % tile_rows (counted from the first key of the tile) and attends to the keys up to and including its
// own, to the last `window` of them if that is not 0.
struct SoftmaxTile {
  float* scores = nullptr;
  int64_t rows = 0;
  int64_t keys = 0;
  int64_t stride = 0;
  int64_t first_token = 0;
  int64_t tile_rows = 0;
  float* inverse_sums = nullptr;  // [rows], written
  float scale = 1.0f;
  int64_t window = 0;
  float soft_cap = 0.0f;  // 0: none
};

// Replaces each row by exp(s - max) of s = scale * score (capped: soft_cap * tanh(s / soft_cap)) in the compute type,
// zero where the row does not attend. Written over the scores: rows of `stride` elements, of which the first `keys`
// count. (Dense where it can be: the library multiplies a dense matrix without copying it first.)
void softmax_tile(Compute compute, const SoftmaxTile& tile);

// Row r of `to` = row r of `from`, which is dense, * factors[r].
void scale_rows(const float* from, const float* factors, const Operand& to);

}  // namespace gridquant::ops
