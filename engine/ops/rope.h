// Op `rope`: turns a product's output [tokens, heads * head_dim] into what attention reads (ops/head_tiles.h), rotating
// each head by its token's position on the way (Llama's form: element i is paired with i + head_dim / 2), or just
// laying it out (values). Approximate: fp32 arithmetic, absolute error <= 1e-6 of the pair's length (fp32 out) or half
// a bf16 step (bf16 out). Single-threaded; any thread.
#pragma once

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// Cosines and sines of positions [0, max_tokens): computed as Llama's reference does, with frequencies and angles
// rounded to fp32. Immutable.
class RopeTable {
 public:
  RopeTable() = default;
  // `head_dim` is even.
  RopeTable(double theta, int64_t head_dim, int64_t max_tokens);
  int64_t max_tokens() const { return max_tokens_; }
  int64_t head_dim() const { return 2 * half_; }
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

// x is [tokens, heads * head_dim]; out is [heads * tokens, head_dim], dense. `table` null: no rotation.
Status rope(tensor::Matrix<const float> x, const HeadShape& shape, const RopeTable* table, const Operand& out);

}  // namespace gridquant::ops
