// The mixture of experts. Single-threaded per sequence: an expert's tokens are gathered, multiplied, and added back.
#include "engine/model/arch/experts_part.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/ops/silu_mul.h"

namespace gridquant::model {
namespace {

using ops::Operand;
using tensor::Matrix;

class ExpertsPart : public BlockPart {
 public:
  ExpertsPart(const ExpertsSpec& spec, ops::Compute compute) : BlockPart(compute, spec.norm), spec_(spec) {
    const int64_t hidden = spec.hidden_size;
    const int64_t inner = spec.intermediate_size;
    const auto name = [&](int64_t e, const std::string& layer) {
      return absl::StrCat(spec.prefix, "experts.", e, ".", layer);
    };
    norm_ = add_norm(spec.norm_name, hidden);
    add_router(spec.prefix + "gate.weight", spec.experts, hidden);
    add_site({.name = kMlpInput, .width = hidden, .weights = {}, .experts = spec.experts});
    for (int64_t e = 0; e < spec.experts; ++e) {
      Expert expert;
      expert.gate = add_linear(name(e, spec.gate), inner, hidden, false);
      expert.up = add_linear(name(e, spec.up), inner, hidden, false);
      experts_.push_back(expert);
    }
    add_site({.name = kMlpOutput,
              .width = inner,
              .weights = {},
              .experts = spec.experts,
              .packed = true,
              .rows_per_token = spec.routing.top_k});
    for (int64_t e = 0; e < spec.experts; ++e) {
      experts_[static_cast<size_t>(e)].down = add_linear(name(e, spec.down), hidden, inner, false);
    }
  }

  Status begin(const SequenceView& s, const Operand& x0, Scratch& scratch) const override {
    if (s.routing == nullptr) return absl::InvalidArgumentError("a mixture of experts needs memory for its routing");
    GQ_RETURN_IF_ERROR(norm(norm_, s.hidden, x0));
    const Matrix<float> logits = scratch.floats.matrix(x0.rows, spec_.experts);
    GQ_RETURN_IF_ERROR(router(x0, logits));
    route(logits, spec_.routing, *s.routing);
    return absl::OkStatus();
  }

  Status advance(int site, const SequenceView& s, const Operand& x, const Operand& next_x,
                 Scratch& scratch) const override {
    for (int64_t e = 0; e < spec_.experts; ++e) {
      const int64_t count = s.routing->count(e);
      for (int64_t begin = 0; begin < count; begin += kTokensAtOnce) {
        const Rows rows{e, s.routing->begin(e) + begin, std::min(kTokensAtOnce, count - begin)};
        GQ_RETURN_IF_ERROR(site == 0 ? gate_and_up(rows, s, x, next_x, scratch.floats)
                                     : down(rows, s, x, scratch.floats));
      }
    }
    return absl::OkStatus();
  }

 private:
  struct Expert {
    size_t gate = 0, up = 0, down = 0;
  };
  // Packed rows of one expert.
  struct Rows {
    int64_t expert, begin, count;
    int64_t token(const Routing& routing, int64_t r) const { return routing.tokens[static_cast<size_t>(begin + r)]; }
  };

  Status gate_and_up(const Rows& rows, const SequenceView& s, const Operand& x, const Operand& out,
                     ScratchFloats& floats) const {
    const Expert& expert = experts_[static_cast<size_t>(rows.expert)];
    const int64_t width = spec_.intermediate_size;
    // Two fp32 products, then the gathered tokens: fp32 or half as large.
    const Matrix<float> all = floats.matrix(1, rows.count * (2 * width + x.cols));
    const Matrix<float> gate{all.data, rows.count, width, width};
    const Matrix<float> up{gate.row(rows.count), rows.count, width, width};
    const Operand tokens{x.compute, reinterpret_cast<std::byte*>(up.row(rows.count)), rows.count, x.cols, x.cols};
    const size_t row_bytes = static_cast<size_t>(x.cols) * ops::operand_size(x.compute);
    for (int64_t r = 0; r < rows.count; ++r) {
      std::memcpy(tokens.row_range(r, 1).data, x.row_range(rows.token(*s.routing, r), 1).data, row_bytes);
    }
    GQ_RETURN_IF_ERROR(linear(expert.gate, tokens, gate));
    GQ_RETURN_IF_ERROR(linear(expert.up, tokens, up));
    return ops::silu_mul(gate, up, out.row_range(rows.begin, rows.count));
  }

  Status down(const Rows& rows, const SequenceView& s, const Operand& x, ScratchFloats& floats) const {
    const Expert& expert = experts_[static_cast<size_t>(rows.expert)];
    const Matrix<float> y = floats.matrix(rows.count, spec_.hidden_size);
    GQ_RETURN_IF_ERROR(linear(expert.down, x.row_range(rows.begin, rows.count), y));
    for (int64_t r = 0; r < rows.count; ++r) {
      const float weight = s.routing->weights[static_cast<size_t>(rows.begin + r)];
      const float* __restrict from = y.row(r);
      float* __restrict to = s.hidden.row(rows.token(*s.routing, r));
      for (int64_t c = 0; c < y.cols; ++c) to[c] += weight * from[c];
    }
    return absl::OkStatus();
  }

  ExpertsSpec spec_;
  size_t norm_ = 0;
  std::vector<Expert> experts_;
};

}  // namespace

ExpertsSpec experts_spec(const ModelConfig& config, int64_t b) {
  ExpertsSpec spec;
  const std::string block = block_prefix(config, b);
  spec.norm_name = block + "post_attention_layernorm.weight";
  spec.prefix = block + "mlp.";
  spec.hidden_size = config.hidden_size;
  spec.intermediate_size = config.expert_intermediate_size;
  spec.experts = config.expert_count;
  spec.routing = {config.experts_per_token, config.normalized_routing};
  spec.norm = norm_style(config);
  return spec;
}

std::unique_ptr<BlockPart> make_experts_part(const ExpertsSpec& spec, ops::Compute compute) {
  return std::make_unique<ExpertsPart>(spec, compute);
}

}  // namespace gridquant::model
