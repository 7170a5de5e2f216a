// Qwen3: q and k are normed head by head; heads need not add up to the model's width.
#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

class Qwen3Architecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "Qwen3ForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    DecoderDefaults defaults;
    defaults.kv_heads = 32;
    defaults.head_dim = 128;
    defaults.max_positions = 32768;
    read_decoder_fields(fields, defaults, config);
    read_rope(fields, config);
    require_activation(fields, "hidden_act", "silu");
    read_optional_windows(fields, config);
    config.attention_bias = fields.flag("attention_bias", false);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    GatedMlpSpec mlp = gated_mlp_spec(config, b);
    attention.qk_norms = true;
    attention.qkv_bias = attention.output_bias = config.attention_bias;
    return two_parts(make_attention_part(attention, compute), make_gated_mlp_part(mlp, compute));
  }
};

}  // namespace

const Architecture& qwen3_architecture() {
  static const Qwen3Architecture architecture;
  return architecture;
}

}  // namespace gridquant::model
