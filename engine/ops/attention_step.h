// Op `attention_step`: attention for one new token each of several sequences that go on in lock-step, over keys and
// values kept from the tokens before (a KV cache). What `attention` gives for a sequence's last token, within rounding:
// approximate, products and softmax in fp32 over operands of the compute type; relative error of the result <= 2e-5
// (fp32), 1e-2 of its largest element (bf16). Single-threaded; the same bits for equal inputs.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/status.h"
#include "engine/ops/attention.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// Keys and values of one block for some sequences, all of one length. fp32 (values of a bf16 model are rounded).
// One thread at a time.
class KvCache {
 public:
  KvCache(int64_t sequences, int64_t kv_heads, int64_t head_dim, int64_t capacity);
  static int64_t bytes_for(int64_t sequences, int64_t kv_heads, int64_t head_dim, int64_t capacity);
  int64_t sequences() const { return sequences_; }
  int64_t capacity() const { return capacity_; }  // tokens of a sequence
  int64_t length() const { return length_; }      // tokens held

 private:
  friend class AttentionStep;
  // Of one sequence and key/value head: keys [head_dim, stride], so that scores are made 16 tokens at a time, and
  // values [capacity, head_dim padded to 16].
  float* keys(int64_t sequence, int64_t kv_head);
  float* values(int64_t sequence, int64_t kv_head);

  int64_t sequences_, kv_heads_, head_dim_, capacity_;
  int64_t stride_;  // capacity padded to 16
  int64_t width_;   // head_dim padded to 16
  int64_t length_ = 0;
  tensor::Tensor keys_, values_;
};

// input: row r of the layout of ops/head_tiles.h belongs to sequence r, in place of a token. Appends k and v to the
// cache and attends over all that it holds (the window, if there is one). out is [sequences, heads * head_dim].
// FailedPrecondition if the cache is full.
Status attention_step(const AttentionShape& shape, const AttentionInput& input, const Operand& out, KvCache& cache);

}  // namespace gridquant::ops
