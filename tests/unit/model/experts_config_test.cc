// What config.json says about experts: counts and their two names, blocks without experts, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/model/architecture.h"

namespace gridquant::model {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

json qwen3_moe() {
  return {{"architectures", {"Qwen3MoeForCausalLM"}},
          {"model_type", "qwen3_moe"},
          {"hidden_size", 32},
          {"intermediate_size", 48},
          {"moe_intermediate_size", 16},
          {"num_hidden_layers", 6},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 16},
          {"vocab_size", 64},
          {"num_experts", 8},
          {"num_experts_per_tok", 2},
          {"norm_topk_prob", true}};
}

ModelConfig parsed(const json& root) {
  const auto config = parse_model_config(root.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig();
}

std::string refusal(json root, const std::string& field, const json& value) {
  root[field] = value;
  const auto config = parse_model_config(root.dump(), "config.json");
  EXPECT_FALSE(config.ok()) << field << " " << value;
  return std::string(config.status().message());
}

TEST(ExpertsConfig, Qwen3Moe) {
  json root = qwen3_moe();
  ModelConfig config = parsed(root);
  EXPECT_EQ(config.expert_count, 8);
  EXPECT_EQ(config.experts_per_token, 2);
  EXPECT_EQ(config.expert_intermediate_size, 16);
  EXPECT_EQ(config.intermediate_size, 48);
  EXPECT_TRUE(config.normalized_routing);
  EXPECT_THAT(config.dense_blocks, IsEmpty());
  root["num_local_experts"] = 5;  // transformers 5 writes this name
  root.erase("num_experts");
  root.erase("norm_topk_prob");
  config = parsed(root);
  EXPECT_EQ(config.expert_count, 5);
  EXPECT_FALSE(config.normalized_routing);
}

TEST(ExpertsConfig, BlocksWithoutExperts) {
  json root = qwen3_moe();
  root["mlp_only_layers"] = {4, 1, 99};  // transformers takes numbers beyond the last block, too
  EXPECT_THAT(parsed(root).dense_blocks, ElementsAre(1, 4));
  root["decoder_sparse_step"] = 3;
  EXPECT_THAT(parsed(root).dense_blocks, ElementsAre(0, 1, 3, 4));
  root["mlp_only_layers"] = nullptr;
  const ModelConfig config = parsed(root);
  EXPECT_THAT(config.dense_blocks, ElementsAre(0, 1, 3, 4));
  const Architecture& architecture = architecture_of(config);
  EXPECT_EQ(architecture.sites(config, 0)[2].experts, 0);
  EXPECT_EQ(architecture.sites(config, 0)[3].width, 48);
  EXPECT_EQ(architecture.sites(config, 2)[2].experts, 8);
  EXPECT_EQ(architecture.sites(config, 2)[3].width, 16);
  std::vector<std::string> names;
  for (const TensorSpec& spec : architecture.block_tensors(config, 2)) names.push_back(spec.name);
  EXPECT_THAT(names,
              ::testing::IsSupersetOf({"model.layers.2.mlp.gate.weight", "model.layers.2.self_attn.q_norm.weight",
                                       "model.layers.2.mlp.experts.7.up_proj.weight"}));
}

TEST(ExpertsConfig, Refusals) {
  EXPECT_THAT(refusal(qwen3_moe(), "num_experts_per_tok", 9),
              HasSubstr("\"num_experts_per_tok\" is 9, more than the 8"));
  EXPECT_THAT(refusal(qwen3_moe(), "num_experts_per_tok", 0), HasSubstr("\"num_experts_per_tok\" is 0"));
  EXPECT_THAT(refusal(qwen3_moe(), "num_experts", 0), HasSubstr("\"num_experts\" is 0"));
  EXPECT_THAT(refusal(qwen3_moe(), "num_experts", 2'000'000'000), HasSubstr("more than 4096"));
  EXPECT_THAT(refusal(qwen3_moe(), "moe_intermediate_size", "x"), HasSubstr("\"moe_intermediate_size\""));
  EXPECT_THAT(refusal(qwen3_moe(), "norm_topk_prob", 1), HasSubstr("\"norm_topk_prob\""));
  for (const json& layers : {json(3), json({1, -1}), json({1.5}), json({{{"a", 1}}})}) {
    EXPECT_THAT(refusal(qwen3_moe(), "mlp_only_layers", layers), HasSubstr("not a list of block numbers"));
  }
}

}  // namespace
}  // namespace gridquant::model
