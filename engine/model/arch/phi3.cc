// Phi-3, Phi-3.5 and Phi-4-mini: q, k and v are one weight, so are gate and up; LongRoPE; part of a head is rotated.
#include "engine/model/arch/attention_part.h"
#include "engine/model/arch/decoder.h"
#include "engine/model/arch/gated_mlp_part.h"
#include "engine/model/arch/list.h"
#include "engine/model/rope_fields.h"

namespace gridquant::model {
namespace {

// As Phi3Config: "su" and "yarn" are old names of LongRoPE, and there is no other scaling.
void read_long_rotary(ConfigFields& fields, ModelConfig& config) {
  RopeDefaults defaults;
  defaults.theta = fields.number("rope_theta", defaults.theta);
  defaults.rotated_share = fields.number("partial_rotary_factor", 1.0);
  defaults.original_positions = fields.positive("original_max_position_embeddings", 4096);
  RopeConfig& rope = config.ropes.front();
  rope.theta = defaults.theta;
  rope.rotated_share = defaults.rotated_share;
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json* given = fields.find(name);
    if (given == nullptr || given->empty()) continue;
    if (!given->is_object()) return fields.fail(name, "is not an object");
    nlohmann::json object = *given;
    const std::string key = object.contains("rope_type") ? "rope_type" : "type";
    const auto type = object.find(key);
    if (type != object.end() && (*type == "su" || *type == "yarn")) *type = "longrope";
    ConfigFields inside(object, fields.path(), name + ".");
    rope = read_rope_object(inside, defaults, config);
    if (rope.scaling != RopeScaling::kNone && rope.scaling != RopeScaling::kLongRope) {
      inside.refuse(key, "is not one of Phi-3: \"default\", \"longrope\"");
    }
    fields.update(inside.status());
    break;
  }
  if (fields.status().ok()) check_rotated(fields, "partial_rotary_factor", rope, config);
}

class Phi3Architecture : public DecoderArchitecture {
 public:
  std::string name() const override { return "Phi3ForCausalLM"; }

  void read_config(ConfigFields& fields, ModelConfig& config) const override {
    DecoderDefaults defaults;
    defaults.max_positions = 4096;
    defaults.rms_norm_eps = 1e-5;
    read_decoder_fields(fields, defaults, config);
    read_long_rotary(fields, config);
    require_activation(fields, "hidden_act", "silu");
    const int64_t window = fields.positive_or_none("sliding_window", 0);
    if (window > 0) config.windows.assign(static_cast<size_t>(config.block_count), window);
  }

 protected:
  BlockParts parts(const ModelConfig& config, int64_t b, ops::Compute compute) const override {
    AttentionSpec attention = attention_spec(config, b);
    GatedMlpSpec mlp = gated_mlp_spec(config, b);
    attention.fused_qkv = mlp.fused_gate_up = true;
    return two_parts(make_attention_part(attention, compute), make_gated_mlp_part(mlp, compute));
  }
};

}  // namespace

const Architecture& phi3_architecture() {
  static const Phi3Architecture architecture;
  return architecture;
}

}  // namespace gridquant::model
