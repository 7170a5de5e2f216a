// The keys that loaders ask for, in one golden text.
#include <nlohmann/json.hpp>

#include "engine/formats/gptq.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

constexpr char kGolden[] = R"({
  "quant_method": "gptq",
  "bits": 4,
  "group_size": 64,
  "desc_act": false,
  "static_groups": true,
  "sym": true,
  "lm_head": false,
  "checkpoint_format": "gptq",
  "format": "gptq",
  "method": "gptq",
  "true_sequential": true,
  "damp_percent": 0.05,
  "pack_dtype": "int32",
  "model_name_or_path": "tiny",
  "model_file_base_name": "model",
  "meta": {
    "quantizer": [
      "gridquant:0.1.0"
    ],
    "act_order": true,
    "damp_percent": 0.05
  }
})";

GptqSettings settings() {
  GptqSettings settings;
  settings.grid = {4, true, 64};
  settings.model_name = "tiny";
  return settings;
}

TEST(GptqConfig, Golden) {
  EXPECT_EQ(gptq_quantization_config(settings()), kGolden);
}

TEST(GptqConfig, FollowsTheGrid) {
  GptqSettings other = settings();
  other.grid = {3, false, -1};
  const auto config = nlohmann::json::parse(gptq_quantization_config(other));
  EXPECT_EQ(config["bits"], 3);
  EXPECT_EQ(config["sym"], false);
  EXPECT_EQ(config["group_size"], -1);
}

TEST(GptqConfig, ExcludedModulesBecomeNegativeRules) {
  GptqSettings some = settings();
  some.excluded_modules = {"model.layers.1.mlp.down_proj", "model.layers.2.self_attn.q_proj"};
  const auto rules = nlohmann::json::parse(gptq_quantization_config(some))["dynamic"];
  EXPECT_EQ(rules.size(), 2u);
  EXPECT_TRUE(rules.contains("-:^model\\.layers\\.1\\.mlp\\.down_proj$"));
  EXPECT_TRUE(rules.contains("-:^model\\.layers\\.2\\.self_attn\\.q_proj$"));
}

TEST(GptqConfig, WhollyExcludedFusedModulesAreNamedToo) {
  GptqSettings some = settings();
  for (const char* leaf :
       {"self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"}) {
    some.excluded_modules.push_back("model.layers.0." + std::string(leaf));
  }
  const auto rules = nlohmann::json::parse(gptq_quantization_config(some))["dynamic"];
  EXPECT_EQ(rules.size(), 7u);
  EXPECT_TRUE(rules.contains("-:^model\\.layers\\.0\\.self_attn\\.qkv_proj$"));
  EXPECT_TRUE(rules.contains("-:^model\\.layers\\.0\\.mlp\\.gate_up_proj$"));
}

}  // namespace
}  // namespace gridquant::formats
