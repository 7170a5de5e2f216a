// The gated MLP part of a block. Single-threaded per sequence.
#include "engine/model/arch/gated_mlp_part.h"

#include <algorithm>

#include "engine/ops/gelu_mul.h"
#include "engine/ops/silu_mul.h"

namespace gridquant::model {
namespace {

using ops::Operand;
using tensor::Matrix;

class GatedMlpPart : public BlockPart {
 public:
  GatedMlpPart(const GatedMlpSpec& spec, ops::Compute compute) : BlockPart(compute, spec.norm), spec_(spec) {
    const std::string prefix = spec.prefix + "mlp.";
    const char* norm = spec.norms_around ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight";
    norm_ = add_norm(spec.prefix + norm, spec.hidden_size);
    add_site(kMlpInput, spec.hidden_size);
    if (spec.fused_gate_up) {
      gate_ = add_linear(prefix + "gate_up_proj", 2 * spec.intermediate_size, spec.hidden_size, spec.bias);
    } else {
      gate_ = add_linear(prefix + "gate_proj", spec.intermediate_size, spec.hidden_size, spec.bias);
      up_ = add_linear(prefix + "up_proj", spec.intermediate_size, spec.hidden_size, spec.bias);
    }
    add_site(kMlpOutput, spec.intermediate_size);
    down_ = add_linear(prefix + "down_proj", spec.hidden_size, spec.intermediate_size, spec.bias);
    if (spec.norms_around) norm_after_ = add_norm(spec.prefix + "post_feedforward_layernorm.weight", spec.hidden_size);
  }

  Status begin(const SequenceView& s, const Operand& x0, Scratch&) const override { return norm(norm_, s.hidden, x0); }

  Status advance(int site, const SequenceView& s, const Operand& x, const Operand& next_x,
                 Scratch& scratch) const override {
    if (site == 0) return gate_and_up(x, next_x, scratch.floats);
    if (spec_.norms_around) return add_normed_product(down_, norm_after_, x, s.hidden, scratch.floats);
    return add_product(down_, x, s.hidden);
  }

 private:
  Status gate_and_up(const Operand& x, const Operand& out, ScratchFloats& floats) const {
    const int64_t width = spec_.intermediate_size;
    for (int64_t begin = 0; begin < x.rows; begin += kTokensAtOnce) {
      const int64_t rows = std::min(kTokensAtOnce, x.rows - begin);
      const Operand part = x.row_range(begin, rows);
      const Operand result = out.row_range(begin, rows);
      if (spec_.fused_gate_up) {
        const Matrix<float> both = floats.matrix(rows, 2 * width);
        GQ_RETURN_IF_ERROR(linear(gate_, part, both));
        const Matrix<float> gate{both.data, rows, width, both.stride};
        const Matrix<float> up{both.data + width, rows, width, both.stride};
        GQ_RETURN_IF_ERROR(gated(spec_.activation, gate, up, result));
        continue;
      }
      const Matrix<float> both = floats.matrix(2 * rows, width);
      const Matrix<float> gate = both.row_range(0, rows);
      const Matrix<float> up = both.row_range(rows, rows);
      GQ_RETURN_IF_ERROR(linear(gate_, part, gate));
      GQ_RETURN_IF_ERROR(linear(up_, part, up));
      GQ_RETURN_IF_ERROR(gated(spec_.activation, gate, up, result));
    }
    return absl::OkStatus();
  }

  GatedMlpSpec spec_;
  size_t norm_ = 0, norm_after_ = 0;
  size_t gate_ = 0, up_ = 0, down_ = 0;  // gate_ is gate_up_proj where the two are one
};

}  // namespace

Status gated(Activation activation, Matrix<const float> gate, Matrix<const float> up, const Operand& out) {
  return activation == Activation::kSilu ? ops::silu_mul(gate, up, out) : ops::gelu_mul(gate, up, out);
}

GatedMlpSpec gated_mlp_spec(const ModelConfig& config, int64_t b) {
  GatedMlpSpec spec;
  spec.prefix = block_prefix(config, b);
  spec.hidden_size = config.hidden_size;
  spec.intermediate_size = config.intermediate_size;
  spec.norm = norm_style(config);
  return spec;
}

std::unique_ptr<BlockPart> make_gated_mlp_part(const GatedMlpSpec& spec, ops::Compute compute) {
  return std::make_unique<GatedMlpPart>(spec, compute);
}

}  // namespace gridquant::model
