// Inside engine/ops only: the softmax steps of attention. Not an op of its own.
#pragma once

#include "engine/ops/operand.h"

namespace gridquant::ops {

// Scores of one tile of queries, rows of `stride` floats (a multiple of 16) aligned to 64 bytes. Row r belongs to token
// first_token + r % tile_rows and attends to the keys up to and including its own.
struct SoftmaxTile {
  float* scores = nullptr;
  int64_t rows = 0;
  int64_t keys = 0;
  int64_t stride = 0;
  int64_t first_token = 0;
  int64_t tile_rows = 0;
  float scale = 1.0f;
  float* inverse_sums = nullptr;  // [rows], written
};

// Replaces each row by exp(scale * (score - max)) in the compute type, zero after the row's own token. Written over the
// scores: a bf16 row has 2 * stride elements, of which the first `keys` count.
void softmax_tile(Compute compute, const SoftmaxTile& tile);

// to = from * factor; `to` has one row.
void scale_row(const float* from, float factor, const Operand& to);

}  // namespace gridquant::ops
