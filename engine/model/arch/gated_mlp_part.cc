// The gated MLP part of a block. Single-threaded per sequence.
#include "engine/model/arch/gated_mlp_part.h"

#include <algorithm>

#include "engine/ops/silu_mul.h"

namespace gridquant::model {
namespace {

using ops::Operand;
using tensor::Matrix;

// Gate and up are computed for so many tokens at a time: their fp32 products then stay in the cache until they are
// multiplied.
constexpr int64_t kTokensAtOnce = 128;

class GatedMlpPart : public BlockPart {
 public:
  GatedMlpPart(const GatedMlpSpec& spec, ops::Compute compute) : BlockPart(compute, spec.norm), spec_(spec) {
    const std::string prefix = spec.prefix + "mlp.";
    norm_ = add_norm(spec.prefix + "post_attention_layernorm.weight", spec.hidden_size);
    add_site(kMlpInput, spec.hidden_size);
    gate_ = add_linear(prefix + "gate_proj", spec.intermediate_size, spec.hidden_size, spec.bias);
    up_ = add_linear(prefix + "up_proj", spec.intermediate_size, spec.hidden_size, spec.bias);
    add_site(kMlpOutput, spec.intermediate_size);
    down_ = add_linear(prefix + "down_proj", spec.hidden_size, spec.intermediate_size, spec.bias);
  }

  Status begin(const SequenceView& s, const Operand& x0, Scratch&) const override { return norm(norm_, s.hidden, x0); }

  Status advance(int site, const SequenceView& s, const Operand& x, const Operand& next_x,
                 Scratch& scratch) const override {
    if (site == 0) return gate_and_up(x, next_x, scratch.floats);
    return add_product(down_, x, s.hidden);
  }

 private:
  Status gate_and_up(const Operand& x, const Operand& out, ScratchFloats& floats) const {
    const int64_t width = spec_.intermediate_size;
    for (int64_t begin = 0; begin < x.rows; begin += kTokensAtOnce) {
      const int64_t rows = std::min(kTokensAtOnce, x.rows - begin);
      const Operand part = x.row_range(begin, rows);
      const Matrix<float> both = floats.matrix(2 * rows, width);
      const Matrix<float> gate = both.row_range(0, rows);
      const Matrix<float> up = both.row_range(rows, rows);
      GQ_RETURN_IF_ERROR(linear(gate_, part, gate));
      GQ_RETURN_IF_ERROR(linear(up_, part, up));
      GQ_RETURN_IF_ERROR(ops::silu_mul(gate, up, out.row_range(begin, rows)));
    }
    return absl::OkStatus();
  }

  GatedMlpSpec spec_;
  size_t norm_, gate_, up_, down_;
};

}  // namespace

GatedMlpSpec gated_mlp_spec(const ModelConfig& config, int64_t b) {
  GatedMlpSpec spec;
  spec.prefix = block_prefix(config, b);
  spec.hidden_size = config.hidden_size;
  spec.intermediate_size = config.intermediate_size;
  spec.norm.eps = config.rms_norm_eps;
  return spec;
}

std::unique_ptr<BlockPart> make_gated_mlp_part(const GatedMlpSpec& spec, ops::Compute compute) {
  return std::make_unique<GatedMlpPart>(spec, compute);
}

}  // namespace gridquant::model
