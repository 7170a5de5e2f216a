// The attention part of a block. Single-threaded per sequence.
#include "engine/model/arch/attention_part.h"

#include <cmath>

#include "engine/ops/attention.h"
#include "engine/ops/rope.h"

namespace gridquant::model {
namespace {

using ops::Operand;
using tensor::Matrix;

struct AttentionScratch : public BlockPart::Scratch {
  AttentionScratch(const AttentionSpec& spec, ops::Compute compute, int64_t max_tokens, ScratchFloats& floats)
      : Scratch(floats),
        table(spec.rope_theta, spec.head_dim, max_tokens),
        q(compute, max_tokens * spec.heads, spec.head_dim),
        k(compute, max_tokens * spec.kv_heads, spec.head_dim),
        v(compute, max_tokens * spec.kv_heads, spec.head_dim) {}

  ops::RopeTable table;
  ops::OperandBuffer q, k, v;
  ops::AttentionScratch attention;
};

class AttentionPart : public BlockPart {
 public:
  AttentionPart(const AttentionSpec& spec, ops::Compute compute) : BlockPart(compute, spec.norm), spec_(spec) {
    const std::string prefix = spec.prefix + "self_attn.";
    norm_ = add_norm(spec.prefix + "input_layernorm.weight", spec.hidden_size);
    add_site(kAttentionInput, spec.hidden_size);
    q_ = add_linear(prefix + "q_proj", spec.heads * spec.head_dim, spec.hidden_size, spec.qkv_bias);
    k_ = add_linear(prefix + "k_proj", spec.kv_heads * spec.head_dim, spec.hidden_size, spec.qkv_bias);
    v_ = add_linear(prefix + "v_proj", spec.kv_heads * spec.head_dim, spec.hidden_size, spec.qkv_bias);
    add_site(kAttentionOutput, spec.heads * spec.head_dim);
    o_ = add_linear(prefix + "o_proj", spec.hidden_size, spec.heads * spec.head_dim, spec.output_bias);
  }

  std::unique_ptr<Scratch> make_scratch(int64_t max_tokens, ScratchFloats& floats) const override {
    return std::make_unique<AttentionScratch>(spec_, compute(), max_tokens, floats);
  }

  Status begin(const SequenceView& s, const Operand& x0, Scratch&) const override { return norm(norm_, s.hidden, x0); }

  Status advance(int site, const SequenceView& s, const Operand& x, const Operand& next_x,
                 Scratch& scratch) const override {
    if (site == 0) return attend(x, next_x, static_cast<AttentionScratch&>(scratch));
    return add_product(o_, x, s.hidden);
  }

 private:
  Status attend(const Operand& x, const Operand& out, AttentionScratch& scratch) const {
    const int64_t dim = spec_.head_dim;
    const int64_t group = spec_.heads / spec_.kv_heads;
    const auto project = [&](size_t which, int64_t heads, const ops::RopeTable* table, Operand to) {
      const Matrix<float> y = scratch.floats.matrix(x.rows, heads * dim);
      GQ_RETURN_IF_ERROR(linear(which, x, y));
      return ops::rope(y, {dim, which == q_ ? group : 1}, table, to);
    };
    const Operand q = scratch.q.view().row_range(0, x.rows * spec_.heads);
    const Operand k = scratch.k.view().row_range(0, x.rows * spec_.kv_heads);
    const Operand v = scratch.v.view().row_range(0, x.rows * spec_.kv_heads);
    GQ_RETURN_IF_ERROR(project(q_, spec_.heads, &scratch.table, q));
    GQ_RETURN_IF_ERROR(project(k_, spec_.kv_heads, &scratch.table, k));
    GQ_RETURN_IF_ERROR(project(v_, spec_.kv_heads, nullptr, v));
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    return ops::attention({spec_.heads, spec_.kv_heads, dim, scale}, {q, k, v}, out, scratch.attention);
  }

  AttentionSpec spec_;
  size_t norm_, q_, k_, v_, o_;
};

}  // namespace

AttentionSpec attention_spec(const ModelConfig& config, int64_t b) {
  AttentionSpec spec;
  spec.prefix = block_prefix(config, b);
  spec.hidden_size = config.hidden_size;
  spec.heads = config.head_count;
  spec.kv_heads = config.kv_head_count;
  spec.head_dim = config.head_dim;
  spec.rope_theta = config.rope_theta;
  spec.norm.eps = config.rms_norm_eps;
  return spec;
}

std::unique_ptr<BlockPart> make_attention_part(const AttentionSpec& spec, ops::Compute compute) {
  return std::make_unique<AttentionPart>(spec, compute);
}

}  // namespace gridquant::model
