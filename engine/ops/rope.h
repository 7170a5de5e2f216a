// Op `rope`: turns a product's output [tokens, heads * head_dim] into what attention reads (ops/head_tiles.h), rotating
// the first elements of each head by its token's position on the way (Llama's form: of the first 2 n elements, element
// i is paired with i + n; the rest stays as it is), or just laying it out (values). Approximate: fp32 arithmetic,
// absolute error <= 1e-6 of the pair's length (fp32 out) or half a bf16 step (bf16 out). Single-threaded; any thread.
#pragma once

#include <span>

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// Cosines and sines of positions [0, max_tokens), with angles rounded to fp32 as Llama's reference does. Immutable.
class RopeTable {
 public:
  RopeTable() = default;
  // Pair i turns by frequencies[i] radians per position. Cosines and sines are multiplied with `magnitude`.
  RopeTable(std::span<const float> frequencies, int64_t max_tokens, float magnitude = 1.0f);
  int64_t max_tokens() const { return max_tokens_; }
  int64_t rotated() const { return 2 * half_; }  // elements of a head
  // A table whose `count` positions are all this one's `position`: for rows that are not one sequence's tokens.
  RopeTable repeated(int64_t position, int64_t count) const;
  const float* cosines(int64_t position) const { return values_.as<float>().data() + position * 2 * half_; }
  const float* sines(int64_t position) const { return cosines(position) + half_; }

 private:
  int64_t half_ = 0;
  int64_t max_tokens_ = 0;
  tensor::Tensor values_;
};

struct HeadShape {
  int64_t head_dim = 0;
  int64_t group = 1;  // heads that share a key/value head; 1 for keys and values themselves
};

// x is [tokens, heads * head_dim]; out is [heads * tokens, head_dim], dense. `table` null: no rotation; else it has a
// position for every token and rotates no more than head_dim elements.
Status rope(tensor::Matrix<const float> x, const HeadShape& shape, const RopeTable* table, const Operand& out);

}  // namespace gridquant::ops
