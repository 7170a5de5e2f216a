// config.json of each architecture: what is read, what an absent field means, and that each refusal names the file, the
// field and what is wrong. That the arithmetic follows is shown in tests/interop/architectures.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/model/architecture.h"
#include "engine/model/config.h"

namespace gridquant::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

json config_of(const std::string& architecture, const json& more = json::object()) {
  json config = {{"architectures", {architecture}}, {"hidden_size", 64},        {"intermediate_size", 96},
                 {"num_hidden_layers", 4},          {"num_attention_heads", 4}, {"vocab_size", 100}};
  config.merge_patch({{"num_key_value_heads", 2}, {"max_position_embeddings", 512}});
  for (const auto& [name, value] : more.items()) config[name] = value;
  return config;
}

ModelConfig parse(const json& config) {
  const StatusOr<ModelConfig> parsed = parse_model_config(config.dump(), "m/config.json");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : ModelConfig();
}

std::vector<std::string> tensor_names(const ModelConfig& config, int64_t b) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : architecture_of(config).block_tensors(config, b)) names.push_back(spec.name);
  return names;
}

TEST(Architectures, AreListedInTheRefusal) {
  const Status status = parse_model_config(config_of("OPTForCausalLM").dump(), "m/config.json").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  for (const std::string& name : known_architectures()) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

TEST(Architectures, Mistral) {
  EXPECT_THAT(parse(config_of("MistralForCausalLM")).windows, ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_THAT(parse(config_of("MistralForCausalLM", {{"sliding_window", nullptr}})).windows, ElementsAre());
  json config = config_of("MistralForCausalLM", {{"sliding_window", 7}});
  config["num_key_value_heads"] = nullptr;  // null: as many as heads; absent: 8
  EXPECT_EQ(parse(config).kv_head_count, 4);
  EXPECT_EQ(parse(config).window(3), 7);
  config["num_attention_heads"] = 16;
  config.erase("num_key_value_heads");
  EXPECT_EQ(parse(config).kv_head_count, 8);
}

TEST(Architectures, Qwen2WindowsAreOffUnlessAskedFor) {
  EXPECT_THAT(parse(config_of("Qwen2ForCausalLM", {{"sliding_window", 32}})).windows, ElementsAre());
  const json used = {{"use_sliding_window", true}, {"sliding_window", 32}, {"max_window_layers", 3}};
  EXPECT_THAT(parse(config_of("Qwen2ForCausalLM", used)).windows, ElementsAre(0, 0, 0, 32));
  json listed = used;
  listed["layer_types"] = {"sliding_attention", "full_attention", "full_attention", "full_attention"};
  EXPECT_THAT(parse(config_of("Qwen2ForCausalLM", listed)).windows, ElementsAre(32, 0, 0, 0));
  const std::vector<std::string> names = tensor_names(parse(config_of("Qwen2ForCausalLM")), 0);
  EXPECT_THAT(names, Contains("model.layers.0.self_attn.k_proj.bias"));
  EXPECT_THAT(names, testing::Not(Contains("model.layers.0.self_attn.o_proj.bias")));
}

TEST(Architectures, Qwen3HasWideHeadsByDefault) {
  const ModelConfig config = parse(config_of("Qwen3ForCausalLM"));
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_THAT(tensor_names(config, 1), AllOf(Contains("model.layers.1.self_attn.q_norm.weight"),
                                             Contains("model.layers.1.self_attn.k_norm.weight")));
}

TEST(Architectures, Phi3) {
  const ModelConfig config = parse(config_of("Phi3ForCausalLM"));
  EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-5f);
  EXPECT_THAT(config.windows, ElementsAre());
  const std::vector<SiteSpec> sites = architecture_of(config).sites(config, 0);
  EXPECT_THAT(sites[0].weights, ElementsAre("model.layers.0.self_attn.qkv_proj.weight"));
  EXPECT_THAT(sites[2].weights, ElementsAre("model.layers.0.mlp.gate_up_proj.weight"));
  const std::vector<TensorSpec> specs = architecture_of(config).block_tensors(config, 0);
  EXPECT_EQ(specs[1].shape, (tensor::Shape{64 + 2 * 32, 64})) << specs[1].name;
  EXPECT_EQ(specs[4].shape, (tensor::Shape{2 * 96, 64})) << specs[4].name;
  json longrope = {{"type", "su"}, {"short_factor", json::array()}, {"long_factor", json::array()}};
  for (int i = 0; i < 8; ++i) longrope["short_factor"].push_back(1), longrope["long_factor"].push_back(2.5);
  const json options = {{"rope_scaling", longrope}, {"original_max_position_embeddings", 128}};
  const RopeConfig rope = parse(config_of("Phi3ForCausalLM", options)).ropes.at(0);
  EXPECT_EQ(rope.scaling, RopeScaling::kLongRope);
  EXPECT_EQ(rope.original_positions, 128);
  EXPECT_DOUBLE_EQ(rope.magnitude, std::sqrt(1 + std::log(4.0) / std::log(128.0)));
}

TEST(Architectures, Gemma2) {
  json config = config_of("Gemma2ForCausalLM");
  for (const char* name : {"num_attention_heads", "num_key_value_heads"}) config.erase(name);
  ModelConfig c = parse(config);
  EXPECT_EQ(c.head_count, 8);
  EXPECT_EQ(c.kv_head_count, 4);
  EXPECT_EQ(c.head_dim, 256);
  EXPECT_TRUE(c.tied_embeddings && c.norm_plus_one && c.scaled_embeddings);
  EXPECT_THAT(c.windows, ElementsAre(4096, 0, 4096, 0));
  EXPECT_EQ(c.attention_soft_cap, 50);
  EXPECT_EQ(c.logit_soft_cap, 30);
  EXPECT_DOUBLE_EQ(c.query_scale, 1.0 / 16);
  config["attn_logit_softcapping"] = config["final_logit_softcapping"] = nullptr;
  config["query_pre_attn_scalar"] = 144;
  c = parse(config);
  EXPECT_EQ(c.attention_soft_cap, 0);
  EXPECT_EQ(c.logit_soft_cap, 0);
  EXPECT_DOUBLE_EQ(c.query_scale, 1.0 / 12);
  EXPECT_THAT(tensor_names(c, 0), AllOf(Contains("model.layers.0.post_attention_layernorm.weight"),
                                        Contains("model.layers.0.pre_feedforward_layernorm.weight"),
                                        Contains("model.layers.0.post_feedforward_layernorm.weight")));
}

TEST(Architectures, Gemma3ReadsBothFormsOfItsTwoRotaryEmbeddings) {
  ModelConfig c = parse(config_of("Gemma3ForCausalLM", {{"sliding_window_pattern", 3}, {"sliding_window", 16}}));
  EXPECT_THAT(c.windows, ElementsAre(16, 16, 0, 16));
  ASSERT_EQ(c.ropes.size(), 2u);
  EXPECT_EQ(c.ropes[c.rope_of(2)].theta, 1e6);
  EXPECT_EQ(c.ropes[c.rope_of(0)].theta, 1e4);
  const json linear = {{"rope_type", "linear"}, {"factor", 8.0}};
  const json older = {{"rope_theta", 5e5}, {"rope_local_base_freq", 2e4}, {"rope_scaling", linear}};
  json full = linear;
  full["rope_theta"] = 5e5;
  const json newer = {{"rope_parameters", {{"full_attention", full}, {"sliding_attention", {{"rope_theta", 2e4}}}}}};
  for (const json& options : {older, newer}) {
    c = parse(config_of("Gemma3ForCausalLM", options));
    EXPECT_EQ(c.ropes[0].theta, 5e5);
    EXPECT_EQ(c.ropes[0].scaling, RopeScaling::kLinear);
    EXPECT_EQ(c.ropes[0].factor, 8);
    EXPECT_EQ(c.ropes[1].theta, 2e4);
    EXPECT_EQ(c.ropes[1].scaling, RopeScaling::kNone);
  }
}

struct Refusal {
  const char* architecture;
  json more;
  absl::StatusCode code;
  std::vector<std::string> says;
};

std::vector<Refusal> refusals() {
  using enum absl::StatusCode;
  const json sliding = {"sliding_attention", "sliding_attention", "full_attention", "full_attention"};
  const json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}};
  return {
      {"LlamaForCausalLM",
       {{"rope_scaling", {{"rope_type", "mrope"}}}},
       kUnimplemented,
       {"rope_type", "mrope", "yarn"}},
      {"LlamaForCausalLM", {{"rope_scaling", {{"type", "linear"}}}}, kInvalidArgument, {"factor", "missing"}},
      {"LlamaForCausalLM",
       {{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}}},
       kInvalidArgument,
       {"rope_scaling.high_freq_factor", "low_freq_factor"}},
      {"LlamaForCausalLM",
       {{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}}}},
       kInvalidArgument,
       {"high_freq_factor", "missing"}},
      {"LlamaForCausalLM", {{"rope_parameters", {{"full_attention", yarn}}}}, kUnimplemented, {"kind of attention"}},
      {"LlamaForCausalLM",
       {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", -4}}}},
       kInvalidArgument,
       {"rope_scaling.factor", "-4"}},
      {"LlamaForCausalLM",
       {{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 4}, {"truncate", "no"}}}},
       kInvalidArgument,
       {"rope_parameters.truncate", "no"}},
      {"LlamaForCausalLM",
       {{"rope_scaling", {{"rope_type", "longrope"}, {"short_factor", {1, 2}}, {"long_factor", {1, 2}}}}},
       kInvalidArgument,
       {"short_factor", "list of 8", "a list of 2"}},
      {"LlamaForCausalLM",
       {{"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}}},
       kUnimplemented,
       {"partial_rotary_factor"}},
      {"MistralForCausalLM", {{"layer_types", sliding}}, kUnimplemented, {"layer_types", "Mistral"}},
      {"MistralForCausalLM", {{"sliding_window", 0}}, kInvalidArgument, {"sliding_window", "0"}},
      {"Qwen2ForCausalLM", {{"layer_types", sliding}}, kInvalidArgument, {"layer_types", "no sliding window"}},
      {"Qwen2ForCausalLM", {{"layer_types", {"full_attention"}}}, kInvalidArgument, {"layer_types", "4 blocks"}},
      {"Qwen3ForCausalLM",
       {{"layer_types", {"full_attention", "full_attention", "full_attention", "chunked_attention"}}},
       kUnimplemented,
       {"layer_types", "chunked_attention"}},
      {"Qwen3ForCausalLM", {{"hidden_act", "gelu"}}, kUnimplemented, {"hidden_act", "gelu"}},
      {"Phi3ForCausalLM",
       {{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}},
       kUnimplemented,
       {"type", "Phi-3", "longrope"}},
      {"Phi3ForCausalLM", {{"partial_rotary_factor", 0.7}}, kInvalidArgument, {"partial_rotary_factor", "11", "16"}},
      {"Phi3ForCausalLM", {{"partial_rotary_factor", 1.5}}, kInvalidArgument, {"partial_rotary_factor", "24", "16"}},
      {"Gemma2ForCausalLM", {{"use_bidirectional_attention", true}}, kUnimplemented, {"use_bidirectional_attention"}},
      {"Gemma2ForCausalLM", {{"sliding_window", nullptr}}, kInvalidArgument, {"sliding_window", "null"}},
      {"Gemma2ForCausalLM",
       {{"hidden_activation", "gelu"}},
       kUnimplemented,
       {"hidden_activation", "gelu_pytorch_tanh"}},
      {"Gemma2ForCausalLM", {{"attn_logit_softcapping", -1}}, kInvalidArgument, {"attn_logit_softcapping", "-1"}},
      {"Gemma3ForCausalLM", {{"attn_logit_softcapping", 50.0}}, kUnimplemented, {"attn_logit_softcapping"}},
      {"Gemma3ForCausalLM", {{"rope_parameters", {{"full_attention", 3}}}}, kInvalidArgument, {"full_attention"}},
      {"Gemma3ForCausalLM",
       {{"rope_parameters", {{"sliding_attention", {{"rope_type", "linear"}}}}}},
       kInvalidArgument,
       {"sliding_attention", "factor"}},
      {"Gemma3ForCausalLM", {{"rope_scaling", 7}}, kInvalidArgument, {"rope_scaling"}},
  };
}

TEST(Architectures, RefusalsNameFileFieldAndReason) {
  for (const Refusal& row : refusals()) {
    SCOPED_TRACE(row.architecture + row.more.dump());
    const Status status = parse_model_config(config_of(row.architecture, row.more).dump(), "m/config.json").status();
    EXPECT_EQ(status.code(), row.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("m/config.json"));
    for (const std::string& text : row.says) EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  }
}

}  // namespace
}  // namespace gridquant::model
