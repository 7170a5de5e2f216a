// Mixtral: Mistral with a mixture of experts in every block. Its tensors keep the names of the first release
// (block_sparse_moe, w1 = gate, w3 = up, w2 = down), which checkpoints and their readers still use.
#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/experts_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

class MixtralArchitecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "MixtralForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    DecoderDefaults defaults;
    defaults.kv_heads = 8;
    defaults.max_positions = 4096 * 32;
    defaults.rms_norm_eps = 1e-5;
    read_decoder_fields(fields, defaults, config);
    read_rope(fields, config, 1e6);
    require_activation(fields, "hidden_act", "silu");
    read_experts(fields, {.experts = 8, .per_token = 2}, config);
    config.expert_intermediate_size = config.intermediate_size;
    config.normalized_routing = true;
    const int64_t window = fields.positive_or_none("sliding_window", 0);
    if (window > 0) config.windows.assign(static_cast<size_t>(config.block_count), window);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    ExpertsSpec experts = experts_spec(config, b);
    experts.prefix = block_prefix(config, b) + "block_sparse_moe.";
    experts.gate = "w1";
    experts.up = "w3";
    experts.down = "w2";
    return two_parts(make_attention_part(attention_spec(config, b), compute), make_experts_part(experts, compute));
  }
};

}  // namespace

const Architecture& mixtral_architecture() {
  static const MixtralArchitecture architecture;
  return architecture;
}

}  // namespace gridquant::model
