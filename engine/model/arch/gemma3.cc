// Gemma 3 (text): as Gemma 2 without soft caps on scores, with norms on q and k; most blocks have a window and their
// own rotary embedding.
#include <cmath>

#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

// Blocks without a window have the base "rope_theta" and the scaling, the others "rope_local_base_freq"; transformers 5
// writes "rope_parameters" with an object for each kind.
void read_two_rotaries(ConfigFields& fields, ModelConfig& config) {
  static const nlohmann::json kNothing = nlohmann::json::object();
  const auto object_in = [&](const nlohmann::json* holder, const std::string& name) -> const nlohmann::json* {
    if (holder == nullptr) return &kNothing;
    if (!holder->is_object()) {
      fields.fail(name, "is not an object");
      return &kNothing;
    }
    return holder;
  };
  const nlohmann::json* nested = object_in(fields.find("rope_parameters"), "rope_parameters");
  const auto kind = [&](const std::string& name) {
    const auto it = nested->find(name);
    return object_in(it == nested->end() || it->is_null() ? nullptr : &*it, "rope_parameters." + name);
  };
  nlohmann::json full = *kind("full_attention");
  full.update(*object_in(fields.find("rope_scaling"), "rope_scaling"));
  ConfigFields global(full, fields.path(), "rope_parameters.full_attention (or rope_scaling) ");
  ConfigFields local(*kind("sliding_attention"), fields.path(), "rope_parameters.sliding_attention ");
  RopeDefaults defaults;
  defaults.theta = fields.number("rope_theta", 1e6);
  const RopeConfig of_full = read_rope_object(global, defaults, config);
  defaults.theta = fields.number("rope_local_base_freq", 1e4);
  const RopeConfig of_window = read_rope_object(local, defaults, config);
  for (ConfigFields* part : {&global, &local}) fields.update(part->status());
  config.ropes = {of_full, of_window};
}

class Gemma3Architecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "Gemma3ForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    read_decoder_fields(fields, {262208, 2304, 9216, 26, 8, 4, 256, 131072, 1e-6, true}, config);
    read_two_rotaries(fields, config);
    require_activation(fields, "hidden_activation", "gelu_pytorch_tanh");
    refuse_flag(fields, "use_bidirectional_attention");
    config.attention_bias = fields.flag("attention_bias", false);
    config.norm_plus_one = config.scaled_embeddings = true;
    config.query_scale = 1 / std::sqrt(fields.number("query_pre_attn_scalar", 256));
    config.logit_soft_cap = static_cast<float>(fields.number_or_none("final_logit_softcapping", 0));
    if (fields.find("attn_logit_softcapping") != nullptr) {
      fields.refuse("attn_logit_softcapping",
                    "is given: transformers does not apply it in Gemma 3, this build neither");
    }
    const int64_t window = fields.positive_or_none("sliding_window", 4096);
    if (read_layer_types(fields, window, config)) return;
    set_window_pattern(fields, window, fields.positive("sliding_window_pattern", 6), config);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    GatedMlpSpec mlp = gated_mlp_spec(config, b);
    attention.qkv_bias = attention.output_bias = config.attention_bias;
    attention.qk_norms = attention.norm_after = mlp.norms_around = true;
    mlp.activation = Activation::kGeluTanh;
    return two_parts(make_attention_part(attention, compute), make_gated_mlp_part(mlp, compute));
  }
};

}  // namespace

const Architecture& gemma3_architecture() {
  static const Gemma3Architecture architecture;
  return architecture;
}

}  // namespace gridquant::model
