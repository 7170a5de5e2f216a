// Llama 2 and 3, and the many models of its shape.
#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

class LlamaArchitecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "LlamaForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    DecoderDefaults defaults;
    defaults.max_positions = 2048;
    read_decoder_fields(fields, defaults, config);
    read_rope(fields, config);
    require_activation(fields, "hidden_act", "silu");
    config.attention_bias = fields.flag("attention_bias", false);
    config.mlp_bias = fields.flag("mlp_bias", false);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    attention.qkv_bias = attention.output_bias = config.attention_bias;
    GatedMlpSpec mlp = gated_mlp_spec(config, b);
    mlp.bias = config.mlp_bias;
    return two_parts(make_attention_part(attention, compute), make_gated_mlp_part(mlp, compute));
  }
};

}  // namespace

const Architecture& llama_architecture() {
  static const LlamaArchitecture architecture;
  return architecture;
}

}  // namespace gridquant::model
