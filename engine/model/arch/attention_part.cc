// The attention part of a block. Single-threaded per sequence.
#include "engine/model/arch/attention_part.h"

#include <cmath>

#include "engine/model/rope_frequencies.h"
#include "engine/ops/attention.h"
#include "engine/ops/attention_step.h"
#include "engine/ops/rope.h"

namespace gridquant::model {
namespace {

using ops::Operand;
using tensor::Matrix;

struct AttentionScratch : public BlockPart::Scratch {
  AttentionScratch(const AttentionSpec& spec, ops::Compute compute, int64_t max_tokens, ScratchFloats& floats)
      : Scratch(floats),
        q(compute, max_tokens * spec.heads, spec.head_dim),
        k(compute, max_tokens * spec.kv_heads, spec.head_dim),
        v(compute, max_tokens * spec.kv_heads, spec.head_dim),
        max_tokens_(max_tokens),
        tables_(spec.ropes.size()),
        step_tables_(spec.ropes.size()) {}

  // The table of the model's rotary embedding `which` for a sequence of `tokens` tokens; kept until another length
  // needs other frequencies.
  const ops::RopeTable& table(const AttentionSpec& spec, int64_t tokens) {
    const RopeConfig& rope = spec.ropes[spec.rope];
    Table& kept = tables_[spec.rope];
    const int64_t regime = rope_regime(rope, tokens);
    if (kept.regime != regime) {
      const std::vector<float> frequencies = rope_frequencies(rope, spec.head_dim, tokens);
      kept = {regime, ops::RopeTable(frequencies, max_tokens_, static_cast<float>(rope.magnitude))};
    }
    return kept.table;
  }

  // The same for the new tokens of sequences in lock-step: all rows at the cache's position. The frequencies are those
  // of sequences as long as the cache can become.
  const ops::RopeTable& step_table(const AttentionSpec& spec, const ops::KvCache& cache) {
    const RopeConfig& rope = spec.ropes[spec.rope];
    ops::RopeTable& all = step_tables_[spec.rope];
    if (all.max_tokens() != cache.capacity()) {
      const std::vector<float> frequencies = rope_frequencies(rope, spec.head_dim, cache.capacity());
      all = ops::RopeTable(frequencies, cache.capacity(), static_cast<float>(rope.magnitude));
    }
    step_ = all.repeated(cache.length(), cache.sequences());
    return step_;
  }

  ops::OperandBuffer q, k, v;
  ops::AttentionScratch attention;

 private:
  struct Table {
    int64_t regime = -1;
    ops::RopeTable table;
  };
  int64_t max_tokens_;
  std::vector<Table> tables_;                // one for each of the model's rotary embeddings
  std::vector<ops::RopeTable> step_tables_;  // the same, for as many positions as a cache has
  ops::RopeTable step_;
};

class AttentionPart : public BlockPart {
 public:
  AttentionPart(const AttentionSpec& spec, ops::Compute compute) : BlockPart(compute, spec.norm), spec_(spec) {
    const std::string prefix = spec.prefix + "self_attn.";
    const int64_t q_width = spec.heads * spec.head_dim;
    const int64_t kv_width = spec.kv_heads * spec.head_dim;
    norm_ = add_norm(spec.prefix + "input_layernorm.weight", spec.hidden_size);
    add_site(kAttentionInput, spec.hidden_size);
    if (spec.fused_qkv) {
      q_ = add_linear(prefix + "qkv_proj", q_width + 2 * kv_width, spec.hidden_size, spec.qkv_bias);
    } else {
      q_ = add_linear(prefix + "q_proj", q_width, spec.hidden_size, spec.qkv_bias);
      k_ = add_linear(prefix + "k_proj", kv_width, spec.hidden_size, spec.qkv_bias);
      v_ = add_linear(prefix + "v_proj", kv_width, spec.hidden_size, spec.qkv_bias);
    }
    add_site(kAttentionOutput, q_width);
    o_ = add_linear(prefix + "o_proj", spec.hidden_size, q_width, spec.output_bias);
    if (spec.qk_norms) {
      q_norm_ = add_norm(prefix + "q_norm.weight", spec.head_dim);
      k_norm_ = add_norm(prefix + "k_norm.weight", spec.head_dim);
    }
    if (spec.norm_after) norm_after_ = add_norm(spec.prefix + "post_attention_layernorm.weight", spec.hidden_size);
  }

  std::unique_ptr<Scratch> make_scratch(int64_t max_tokens, ScratchFloats& floats) const override {
    return std::make_unique<AttentionScratch>(spec_, compute(), max_tokens, floats);
  }

  Status begin(const SequenceView& s, const Operand& x0, Scratch&) const override { return norm(norm_, s.hidden, x0); }

  Status advance(int site, const SequenceView& s, const Operand& x, const Operand& next_x,
                 Scratch& scratch) const override {
    auto& own = static_cast<AttentionScratch&>(scratch);
    if (site == 0) return attend(s.cache, x, next_x, own);
    if (spec_.norm_after) return add_normed_product(o_, norm_after_, x, s.hidden, own.floats);
    return add_product(o_, x, s.hidden);
  }

 private:
  // q, k and v of a sequence, as attention reads them.
  using Heads = ops::AttentionInput;

  Status attend(ops::KvCache* cache, const Operand& x, const Operand& out, AttentionScratch& scratch) const {
    if (cache != nullptr && (cache->length() >= cache->capacity() || cache->sequences() != x.rows)) {
      return absl::FailedPreconditionError("the cache of keys and values is full, or of other sequences");
    }
    const Heads heads = {scratch.q.view().row_range(0, x.rows * spec_.heads),
                         scratch.k.view().row_range(0, x.rows * spec_.kv_heads),
                         scratch.v.view().row_range(0, x.rows * spec_.kv_heads)};
    const ops::RopeTable& table = cache == nullptr ? scratch.table(spec_, x.rows) : scratch.step_table(spec_, *cache);
    GQ_RETURN_IF_ERROR(spec_.fused_qkv ? project_fused(x, table, scratch.floats, heads)
                                       : project(x, table, scratch.floats, heads));
    const ops::AttentionShape shape{spec_.heads, spec_.kv_heads, spec_.head_dim,
                                    spec_.scale, spec_.window,   spec_.soft_cap};
    if (cache != nullptr) return ops::attention_step(shape, heads, out, *cache);
    return ops::attention(shape, heads, out, scratch.attention);
  }

  Status project(const Operand& x, const ops::RopeTable& table, ScratchFloats& floats, const Heads& heads) const {
    const auto one = [&](size_t which, size_t norm_of, int64_t count) -> StatusOr<Matrix<float>> {
      const Matrix<float> y = floats.matrix(x.rows, count * spec_.head_dim);
      GQ_RETURN_IF_ERROR(linear(which, x, y));
      if (!spec_.qk_norms || which == v_) return y;
      const Matrix<float> by_head{y.data, x.rows * count, spec_.head_dim, spec_.head_dim};
      GQ_RETURN_IF_ERROR(norm(norm_of, by_head, as_operand(by_head)));
      return y;
    };
    GQ_ASSIGN_OR_RETURN(const Matrix<float> q, one(q_, q_norm_, spec_.heads));
    GQ_RETURN_IF_ERROR(ops::rope(q, query_shape(), &table, heads.q));
    GQ_ASSIGN_OR_RETURN(const Matrix<float> k, one(k_, k_norm_, spec_.kv_heads));
    GQ_RETURN_IF_ERROR(ops::rope(k, key_shape(), &table, heads.k));
    GQ_ASSIGN_OR_RETURN(const Matrix<float> v, one(v_, 0, spec_.kv_heads));
    return ops::rope(v, key_shape(), nullptr, heads.v);
  }

  Status project_fused(const Operand& x, const ops::RopeTable& table, ScratchFloats& floats, const Heads& heads) const {
    const int64_t q_width = spec_.heads * spec_.head_dim;
    const int64_t kv_width = spec_.kv_heads * spec_.head_dim;
    const Matrix<float> all = floats.matrix(x.rows, q_width + 2 * kv_width);
    GQ_RETURN_IF_ERROR(linear(q_, x, all));
    const auto columns = [&](int64_t begin, int64_t count) {
      return Matrix<const float>{all.data + begin, all.rows, count, all.stride};
    };
    GQ_RETURN_IF_ERROR(ops::rope(columns(0, q_width), query_shape(), &table, heads.q));
    GQ_RETURN_IF_ERROR(ops::rope(columns(q_width, kv_width), key_shape(), &table, heads.k));
    return ops::rope(columns(q_width + kv_width, kv_width), key_shape(), nullptr, heads.v);
  }

  ops::HeadShape query_shape() const { return {spec_.head_dim, spec_.heads / spec_.kv_heads}; }
  ops::HeadShape key_shape() const { return {spec_.head_dim, 1}; }

  AttentionSpec spec_;
  size_t norm_ = 0, q_norm_ = 0, k_norm_ = 0, norm_after_ = 0;
  size_t q_ = 0, k_ = 0, v_ = 0, o_ = 0;  // q_ is qkv_proj where the three are one
};

}  // namespace

AttentionSpec attention_spec(const ModelConfig& config, int64_t b) {
  AttentionSpec spec;
  spec.prefix = block_prefix(config, b);
  spec.hidden_size = config.hidden_size;
  spec.heads = config.head_count;
  spec.kv_heads = config.kv_head_count;
  spec.head_dim = config.head_dim;
  spec.scale = config.query_scale > 0 ? static_cast<float>(config.query_scale)
                                      : 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  spec.window = config.window(b);
  spec.soft_cap = config.attention_soft_cap;
  spec.ropes = config.ropes;
  spec.rope = config.rope_of(b);
  spec.norm = norm_style(config);
  return spec;
}

std::unique_ptr<BlockPart> make_attention_part(const AttentionSpec& spec, ops::Compute compute) {
  return std::make_unique<AttentionPart>(spec, compute);
}

}  // namespace gridquant::model
