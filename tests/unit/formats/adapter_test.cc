// LoRA merged while reading, and adapters that do not fit. Against PEFT itself: tests/interop/adapter.py.
#include "engine/formats/adapter.h"

#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using tensor::DType;

class AdapterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<NamedTensor> base;
    base.push_back(named<float>("a.weight", DType::kF32, {2, 3}, {1, 2, 3, 4, 5, 6}));
    base.push_back(named<uint16_t>("b.weight", DType::kBF16, {1, 1}, {0x3f80}));
    base.push_back(named<float>("n.weight", DType::kF32, {2}, {1, 1}));
    ASSERT_TRUE(env_->make_folders("m").ok() && env_->make_folders("l").ok());
    ASSERT_TRUE(write_safetensors(*env_, "m/model.safetensors", base).ok());
    config(R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4})");
  }
  void config(const std::string& text) { put(*env_, "l/adapter_config.json", text); }
  void weights(std::vector<NamedTensor> tensors) {
    ASSERT_TRUE(write_safetensors(*env_, "l/adapter_model.safetensors", tensors).ok());
  }
  static std::vector<NamedTensor> rank_two() {
    std::vector<NamedTensor> tensors;
    tensors.push_back(named<float>("base_model.model.a.lora_A.weight", DType::kF32, {2, 3}, {1, 0, 2, 0, 1, 0}));
    tensors.push_back(named<float>("base_model.model.a.lora_B.weight", DType::kF32, {2, 2}, {1, 0, 0, 10}));
    return tensors;
  }
  StatusOr<Source> open() {
    GQ_ASSIGN_OR_RETURN(Source source, open_source(*env_, "m"));
    return apply_adapter(*env_, std::move(source), "l");
  }
  void refused(const std::vector<std::string>& message) { expect_message(open().status(), message); }
  std::unique_ptr<base::Env> env_ = base::make_memory_env();
};

TEST_F(AdapterTest, Merges) {
  weights(rank_two());
  auto source = open();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(source->tensors->read_f32("a.weight", {2, 3})->as<float>(), ::testing::ElementsAre(3, 2, 7, 4, 25, 6));
  EXPECT_THAT(source->tensors->read("a.weight")->as<float>(), ::testing::ElementsAre(3, 2, 7, 4, 25, 6));
  EXPECT_EQ(source->tensors->read("b.weight")->as<uint16_t>()[0], 0x3f80);
  EXPECT_THAT(source->files,
              ::testing::ElementsAre("m/model.safetensors", "l/adapter_config.json", "l/adapter_model.safetensors"));
  config(R"({"peft_type": "LORA", "lora_alpha": 4, "use_rslora": true, "alpha_pattern": {"x": 1}})");
  source = open();
  EXPECT_FLOAT_EQ(source->tensors->read_f32("a.weight", {2, 3})->as<float>()[0], 1 + 4 / std::sqrt(2.0f));
  config(R"({"peft_type": "LORA", "lora_alpha": 4, "alpha_pattern": {"a": 2}})");
  source = open();
  EXPECT_EQ(source->tensors->read_f32("a.weight", {2, 3})->as<float>()[0], 2);
}

TEST_F(AdapterTest, KeepsTheBasesType) {
  std::vector<NamedTensor> tensors;
  tensors.push_back(named<float>("base_model.model.b.lora_A.weight", DType::kF32, {2, 1}, {1, 1}));
  tensors.push_back(named<float>("base_model.model.b.lora_B.weight", DType::kF32, {1, 2}, {1, 0x1p-12f}));
  tensors.push_back(named<float>("base_model.model.n.weight", DType::kF32, {2}, {7, 8}));
  weights(std::move(tensors));
  const auto source = open();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->tensors->read_f32("b.weight", {1, 1})->as<float>()[0], 3 + 0x1p-11f);
  EXPECT_EQ(source->tensors->read("b.weight")->as<uint16_t>()[0], 0x4040);
  EXPECT_THAT(source->tensors->read("n.weight")->as<float>(), ::testing::ElementsAre(7, 8));
}

TEST_F(AdapterTest, AdaptersOfAnotherModel) {
  auto tensors = rank_two();
  tensors[0].name = "base_model.model.z.lora_A.weight";
  tensors[1].name = "base_model.model.z.lora_B.weight";
  tensors.push_back(named<float>("base_model.model.y.weight", DType::kF32, {1}, {1}));
  tensors.push_back(named<float>("base_model.model.n.weight", DType::kF32, {1}, {1}));
  tensors.push_back(named<float>("base_model.model.b.lora_A.weight", DType::kF32, {2, 3}, {1, 0, 2, 0, 1, 0}));
  tensors.push_back(named<float>("base_model.model.b.lora_B.weight", DType::kF32, {2, 2}, {1, 0, 0, 10}));
  weights(std::move(tensors));
  refused({"l: this adapter does not fit m", "no z.weight", "no y.weight", "n.weight has the shape [2]", "[1]",
           "B [2, 2] times A [2, 3] is not of the shape [1, 1] of b.weight"});
  weights({});
  refused({"holds no tensors"});
  tensors = rank_two();
  tensors.pop_back();
  weights(std::move(tensors));
  refused({"lora_A.weight is there without"});
  std::vector<NamedTensor> strange;
  strange.push_back(named<float>("base_model.model.a.lora_magnitude_vector", DType::kF32, {2}, {1, 1}));
  strange.push_back(named<float>("a.lora_A.weight", DType::kF32, {1}, {1}));
  weights(std::move(strange));
  refused({"lora_magnitude_vector is of a kind", "does not begin with base_model.model."});
}

TEST_F(AdapterTest, WhatIsNotMerged) {
  refused({"no adapter_model.safetensors"});
  weights(rank_two());
  for (const auto& [text, message] :
       {std::pair(R"({"peft_type": "IA3", "lora_alpha": 1})", "\"IA3\""),
        std::pair(R"({"peft_type": "LORA", "lora_alpha": 1, "use_dora": true})", "use_dora"),
        std::pair(R"({"peft_type": "LORA", "lora_alpha": 1, "lora_bias": true})", "lora_bias"),
        std::pair(R"({"peft_type": "LORA", "lora_alpha": 1, "init_lora_weights": "pissa_niter_4"})", "pissa"),
        std::pair(R"({"peft_type": "LORA", "lora_alpha": 1, "alpha_pattern": {"^a.*": 1}})", "regular expression"),
        std::pair(R"({"peft_type": "LORA", "lora_alpha": 1e300})", "lora_alpha"),
        std::pair(R"({"peft_type": "LORA"})", "lora_alpha"), std::pair("[]", "adapter_config.json")}) {
    config(text);
    refused({"l/adapter_config.json", message});
  }
  ASSERT_TRUE(env_->remove_file("l/adapter_config.json").ok());
  refused({"not a PEFT adapter"});
}

}  // namespace
}  // namespace gridquant::formats
