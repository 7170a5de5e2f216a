// Mistral: Llama with a sliding window in every block, or in none.
#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

class MistralArchitecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "MistralForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    DecoderDefaults defaults;
    defaults.kv_heads = 8;
    defaults.max_positions = 4096 * 32;
    read_decoder_fields(fields, defaults, config);
    read_rope(fields, config);
    require_activation(fields, "hidden_act", "silu");
    const int64_t window = fields.positive_or_none("sliding_window", 4096);
    if (window > 0) config.windows.assign(static_cast<size_t>(config.block_count), window);
    if (fields.find("layer_types") != nullptr) {
      fields.refuse("layer_types", "is not a field of Mistral: its blocks all have the window or none has");
    }
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    GatedMlpSpec mlp = gated_mlp_spec(config, b);

    return two_parts(make_attention_part(attention, compute), make_gated_mlp_part(mlp, compute));
  }
};

}  // namespace

const Architecture& mistral_architecture() {
  static const MistralArchitecture architecture;
  return architecture;
}

}  // namespace gridquant::model
