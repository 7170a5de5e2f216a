// Qwen3-MoE: Qwen3 with a mixture of experts in all blocks, or in those that the configuration leaves them.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/experts_part.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

class Qwen3MoeArchitecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "Qwen3MoeForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    DecoderDefaults defaults;
    defaults.kv_heads = 4;
    defaults.max_positions = 32768;
    read_decoder_fields(fields, defaults, config);
    read_rope(fields, config);
    require_activation(fields, "hidden_act", "silu");
    // Not Qwen3's per-block choice: the window is every block's, or none's.
    if (fields.flag("use_sliding_window", false)) {
      const int64_t window = fields.positive_or_none("sliding_window", 4096);
      if (window > 0) config.windows.assign(static_cast<size_t>(config.block_count), window);
    }
    config.attention_bias = fields.flag("attention_bias", false);
    read_experts(fields, {.experts = 128, .per_token = 8}, config);
    config.expert_intermediate_size = fields.positive("moe_intermediate_size", 768);
    config.normalized_routing = fields.flag("norm_topk_prob", false);
    read_dense_blocks(fields, config);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    attention.qk_norms = true;
    attention.qkv_bias = attention.output_bias = config.attention_bias;
    const bool dense = std::ranges::binary_search(config.dense_blocks, b);
    return two_parts(make_attention_part(attention, compute),
                     dense ? make_gated_mlp_part(gated_mlp_spec(config, b), compute)
                           : make_experts_part(experts_spec(config, b), compute));
  }

 private:
  // Block b is dense if "mlp_only_layers" names it, or b + 1 is not a multiple of "decoder_sparse_step".
  static void read_dense_blocks(ConfigFields& fields, ModelConfig& config) {
    const int64_t step = fields.positive("decoder_sparse_step", 1);
    const nlohmann::json* named = fields.find("mlp_only_layers");
    const auto is_block = [](const nlohmann::json& b) { return b.is_number_unsigned(); };
    if (named != nullptr && (!named->is_array() || !std::all_of(named->begin(), named->end(), is_block))) {
      return fields.fail("mlp_only_layers", absl::StrCat("is ", named->dump(), ", not a list of block numbers"));
    }
    if (!fields.status().ok()) return;
    for (int64_t b = 0; b < config.block_count; ++b) {
      const bool is_named = named != nullptr && std::find(named->begin(), named->end(), b) != named->end();
      if (is_named || (b + 1) % step != 0) config.dense_blocks.push_back(b);
    }
  }
};

}  // namespace

const Architecture& qwen3_moe_architecture() {
  static const Qwen3MoeArchitecture architecture;
  return architecture;
}

}  // namespace gridquant::model
