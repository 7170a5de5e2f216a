// config.json: what is accepted, and that each refusal names the file, the field and what is wrong.
#include "engine/model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace gridquant::model {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json good() {
  return json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05,
    "rope_theta": 100000.0, "tie_word_embeddings": true})");
}

ModelConfig parse(const json& config) {
  const StatusOr<ModelConfig> parsed = parse_model_config(config.dump(), "m/config.json");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : ModelConfig();
}

TEST(ModelConfig, ReadsEveryField) {
  json config = good();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  const ModelConfig c = parse(config);
  EXPECT_EQ(c.architecture, "LlamaForCausalLM");
  EXPECT_EQ(c.model_type, "llama");
  EXPECT_EQ(c.hidden_size, 576);
  EXPECT_EQ(c.intermediate_size, 1536);
  EXPECT_EQ(c.block_count, 30);
  EXPECT_EQ(c.head_count, 9);
  EXPECT_EQ(c.kv_head_count, 3);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.vocab_size, 49152);
  EXPECT_EQ(c.max_positions, 8192);
  EXPECT_FLOAT_EQ(c.rms_norm_eps, 1e-5f);
  EXPECT_EQ(c.ropes[0].theta, 100000.0);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_TRUE(c.attention_bias);
  EXPECT_TRUE(c.mlp_bias);
}

TEST(ModelConfig, Defaults) {
  json config = good();
  for (const char* name : {"num_key_value_heads", "tie_word_embeddings", "rope_theta", "rms_norm_eps", "hidden_act"}) {
    config.erase(name);
  }
  config["head_dim"] = nullptr;
  config["rope_scaling"] = nullptr;
  config["quantization_config"] = nullptr;
  const ModelConfig c = parse(config);
  EXPECT_EQ(c.kv_head_count, 9);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.ropes[0].theta, 10000.0);
  EXPECT_FLOAT_EQ(c.rms_norm_eps, 1e-6f);
  EXPECT_FALSE(c.tied_embeddings);
}

TEST(ModelConfig, Transformers5RopeParameters) {
  json config = good();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  EXPECT_EQ(parse(config).ropes[0].theta, 5e5);
  config["rope_theta"] = 1e4;  // both: the newer field wins
  EXPECT_EQ(parse(config).ropes[0].theta, 5e5);
}

TEST(ModelConfig, HeadDimNeedNotFollowFromTheWidth) {
  json config = good();
  config["head_dim"] = 128;
  EXPECT_EQ(parse(config).head_dim, 128);
  config["hidden_size"] = 577;
  EXPECT_EQ(parse(config).hidden_size, 577);
}

struct Refusal {
  const char* name;
  json patch;  // RFC 7396: null removes
  absl::StatusCode code;
  std::vector<std::string> says;
};

std::vector<Refusal> refusals() {
  using enum absl::StatusCode;
  return {
      {"no_width", {{"hidden_size", nullptr}}, kInvalidArgument, {"\"hidden_size\"", "missing"}},
      {"text_width", {{"hidden_size", "576"}}, kInvalidArgument, {"\"hidden_size\"", "\"576\""}},
      {"layers_without_end", {{"num_hidden_layers", 2147483647}}, kInvalidArgument, {"\"num_hidden_layers\"", "10000"}},
      {"zero_layers", {{"num_hidden_layers", 0}}, kInvalidArgument, {"\"num_hidden_layers\"", "0"}},
      {"huge", {{"vocab_size", 1e12}}, kInvalidArgument, {"\"vocab_size\""}},
      {"negative_eps", {{"rms_norm_eps", -1}}, kInvalidArgument, {"\"rms_norm_eps\"", "-1"}},
      {"text_flag", {{"tie_word_embeddings", "yes"}}, kInvalidArgument, {"\"tie_word_embeddings\""}},
      {"heads", {{"num_attention_heads", 7}}, kInvalidArgument, {"\"hidden_size\"", "576", "(7)", "head_dim"}},
      {"kv_heads", {{"num_key_value_heads", 2}}, kInvalidArgument, {"\"num_key_value_heads\"", "2", "9"}},
      {"odd_head", {{"head_dim", 63}}, kInvalidArgument, {"\"head_dim\"", "63", "even"}},
      {"no_architecture", {{"architectures", nullptr}}, kInvalidArgument, {"\"architectures\"", "LlamaForCausalLM"}},
      {"other", {{"architectures", {"GPT2LMHeadModel"}}}, kUnimplemented, {"GPT2LMHeadModel", "LlamaForCausalLM"}},
      {"gelu", {{"hidden_act", "gelu"}}, kUnimplemented, {"\"hidden_act\"", "gelu", "silu"}},
      {"list_scaled", {{"rope_scaling", {1, 2}}}, kInvalidArgument, {"\"rope_scaling\""}},
      {"partial", {{"partial_rotary_factor", 0.5}}, kUnimplemented, {"\"partial_rotary_factor\""}},
      {"quantized",
       {{"quantization_config", {{"bits", 4}}}},
       kFailedPrecondition,
       {"quantization_config", "already quantized", "unquantized"}},
  };
}

TEST(ModelConfig, RefusalsNameFileFieldAndReason) {
  for (const Refusal& row : refusals()) {
    SCOPED_TRACE(row.name);
    json config = good();
    config.merge_patch(row.patch);
    const Status status = parse_model_config(config.dump(), "m/config.json").status();
    EXPECT_EQ(status.code(), row.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("m/config.json"));
    for (const std::string& text : row.says) EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  }
}

TEST(ModelConfig, NotJson) {
  for (const char* text : {"", "{", "[]", "null", "\xff\xfe"}) {
    const Status status = parse_model_config(text, "m/config.json").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("m/config.json"));
  }
}

// Of a size that would end the process if it were copied or printed as it is.
TEST(ModelConfig, HugeAndDeeplyNestedJson) {
  constexpr size_t kDepth = 1'000'000;
  const std::string begin = R"({"architectures": ["LlamaForCausalLM"], "hidden_size": )";
  for (const std::string& value :
       {std::string(kDepth, '['), std::string(kDepth, '[') + std::string(kDepth, ']'),
        std::string(66, '[') + std::string(66, ']')}) {
    const Status status = parse_model_config(begin + value + "}", "m/config.json").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("m/config.json: nested deeper than 64 levels"));
  }
  std::string list = "[0";
  for (size_t i = 1; i < kDepth; ++i) list += ",0";
  const std::string text = "\"" + std::string(kDepth, 'x') + "\"";
  for (const auto& [value, says] : {std::pair(list + "]", "\"hidden_size\" is a list of 1000000, not a whole number"),
                                    std::pair(text, "xxx..., not a whole number")}) {
    const Status status = parse_model_config(begin + value + "}", "m/config.json").status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
    EXPECT_LT(status.message().size(), 300u);
  }
}

}  // namespace
}  // namespace gridquant::model
