// Gemma 2: norms before and after both parts, with weights around 1; soft caps; a window in every second block.
#include <cmath>

#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

class Gemma2Architecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "Gemma2ForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    read_decoder_fields(fields, {256000, 2304, 9216, 26, 8, 4, 256, 8192, 1e-6, true}, config);
    read_rope(fields, config);
    require_activation(fields, "hidden_activation", "gelu_pytorch_tanh");
    refuse_flag(fields, "use_bidirectional_attention");
    config.attention_bias = fields.flag("attention_bias", false);
    config.norm_plus_one = config.scaled_embeddings = true;
    config.query_scale = 1 / std::sqrt(fields.number("query_pre_attn_scalar", 256));
    config.attention_soft_cap = static_cast<float>(fields.number_or_none("attn_logit_softcapping", 50));
    config.logit_soft_cap = static_cast<float>(fields.number_or_none("final_logit_softcapping", 30));
    const int64_t window = fields.positive_or_none("sliding_window", 4096);
    if (!read_layer_types(fields, window, config)) set_window_pattern(fields, window, 2, config);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    GatedMlpSpec mlp = gated_mlp_spec(config, b);
    attention.qkv_bias = attention.output_bias = config.attention_bias;
    attention.norm_after = mlp.norms_around = true;
    mlp.activation = Activation::kGeluTanh;
    return two_parts(make_attention_part(attention, compute), make_gated_mlp_part(mlp, compute));
  }
};

}  // namespace

const Architecture& gemma2_architecture() {
  static const Gemma2Architecture architecture;
  return architecture;
}

}  // namespace gridquant::model
