// Qwen2 and Qwen2.5: biases on q, k and v; optionally a sliding window in the later blocks.
#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

class Qwen2Architecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "Qwen2ForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    DecoderDefaults defaults;
    defaults.kv_heads = 32;
    defaults.max_positions = 32768;
    read_decoder_fields(fields, defaults, config);
    read_rope(fields, config);
    require_activation(fields, "hidden_act", "silu");
    read_optional_windows(fields, config);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    GatedMlpSpec mlp = gated_mlp_spec(config, b);
    attention.qkv_bias = true;
    return two_parts(make_attention_part(attention, compute), make_gated_mlp_part(mlp, compute));
  }
};

}  // namespace

const Architecture& qwen2_architecture() {
  static const Qwen2Architecture architecture;
  return architecture;
}

}  // namespace gridquant::model
