// The text part of a model that sees pictures: names, configuration, refusals. Its logits beside transformers':
// tests/interop/architectures.py.
#include "engine/formats/text_part.h"

#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using tensor::DType;
using testing::ElementsAre;

class TextPartTest : public ::testing::Test {
 protected:
  void write(const std::string& config, const std::vector<std::string>& names) {
    put(*env_, "m/config.json", config);
    std::vector<NamedTensor> tensors;
    for (const std::string& name : names) tensors.push_back(named<float>(name, DType::kF32, {2, 1}, {1, 2}));
    ASSERT_TRUE(write_safetensors(*env_, "m/model.safetensors", tensors).ok());
  }
  std::unique_ptr<base::Env> env_ = base::make_memory_env();
};

constexpr char kConfig[] = R"({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
  "eos_token_id": [1, 106], "tie_word_embeddings": false,
  "text_config": {"model_type": "gemma3_text", "hidden_size": 8, "tie_word_embeddings": true}, "vision_config": {}})";

TEST_F(TextPartTest, BothPrefixesAreTakenAway) {
  const std::vector<std::string> expected = {"lm_head.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight",
                                             "vision_tower.x"};
  write(kConfig, {"language_model.lm_head.weight", "language_model.model.layers.0.mlp.up_proj.weight",
                  "language_model.model.norm.weight", "vision_tower.x"});
  const auto older = open_source(*env_, "m");
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_EQ(older->tensors->names(), expected);
  write(kConfig, {"lm_head.weight", "model.language_model.layers.0.mlp.up_proj.weight",
                  "model.language_model.norm.weight", "vision_tower.x"});
  const auto newer = open_source(*env_, "m");
  ASSERT_TRUE(newer.ok()) << newer.status();
  EXPECT_EQ(newer->tensors->names(), expected);
  const TensorSource& tensors = *newer->tensors;
  EXPECT_EQ(tensors.find("model.norm.weight")->shape, (tensor::Shape{2, 1}));
  EXPECT_EQ(tensors.find("model.language_model.norm.weight"), nullptr);
  EXPECT_THAT(tensors.read("model.norm.weight")->as<float>(), ElementsAre(1, 2));
  EXPECT_THAT(tensors.read_f32("model.norm.weight", {2, 1})->as<float>(), ElementsAre(1, 2));
  EXPECT_THAT(tensors.read_weight("model.norm.weight", {2, 1})->as<float>(), ElementsAre(1, 2));
  EXPECT_TRUE(tensors.rows("model.norm.weight").ok());
  expect_message(tensors.read("model.other").status(), {"model.other"});
}

TEST_F(TextPartTest, ConfigurationIsTheTextModels) {
  write(kConfig, {"language_model.model.norm.weight"});
  const auto source = open_source(*env_, "m");
  ASSERT_TRUE(source.ok()) << source.status();
  const auto config = nlohmann::json::parse(*source->texts->read("config.json"));
  EXPECT_EQ(config, nlohmann::json::parse(R"({"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
      "hidden_size": 8, "tie_word_embeddings": false, "eos_token_id": [1, 106]})"));
}

TEST_F(TextPartTest, MistakesAreNamed) {
  for (const char* text_config : {"", R"(, "text_config": null)", R"(, "text_config": 7)"}) {
    write(R"({"architectures": ["Gemma3ForConditionalGeneration"])" + std::string(text_config) + "}", {"a"});
    expect_message(open_source(*env_, "m").status(), {"m/config.json", "\"text_config\""});
  }
  write(kConfig, {"language_model.model.norm.weight", "model.norm.weight"});
  expect_message(open_source(*env_, "m").status(),
                 {"language_model.model.norm.weight and model.norm.weight", "the text model's model.norm.weight"});
}

}  // namespace
}  // namespace gridquant::formats
