// Op `attention`: causal softmax(cap(q k^T * scale)) v for every head, grouped-query; with a sliding window, of the
// last tokens only; with a soft cap, cap(s) = c tanh(s / c). Approximate: products in the compute type with fp32
// accumulation, softmax in fp32 (its probabilities, before division by their sum, rounded to the compute type);
// relative error of the result <= 2e-5 (fp32), 1e-2 of its largest element (bf16). Single-threaded: one call is one
// sequence, with the calling thread's own scratch. The same bits for equal inputs.
#pragma once

#include <memory>

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;
  float scale = 1.0f;
  int64_t window = 0;     // a token sees so many tokens, itself included; 0: all up to itself
  float soft_cap = 0.0f;  // 0: none
};

// Working memory and prepared products of one thread; serves any shape.
class AttentionScratch {
 public:
  AttentionScratch();
  ~AttentionScratch();
  AttentionScratch(AttentionScratch&&) noexcept;
  AttentionScratch& operator=(AttentionScratch&&) noexcept;

 private:
  friend class AttentionRun;
  struct State;
  std::unique_ptr<State> state_;
};

// Queries, keys and values of one sequence, in the layout of ops/head_tiles.h: q is [heads * tokens, head_dim], k and v
// are [kv_heads * tokens, head_dim], all dense and of one compute type.
struct AttentionInput {
  Operand q, k, v;
};

// out is [tokens, heads * head_dim].
Status attention(const AttentionShape& shape, const AttentionInput& input, const Operand& out,
                 AttentionScratch& scratch);

}  // namespace gridquant::ops
