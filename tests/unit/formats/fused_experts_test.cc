// Experts fused into 3-D tensors, seen one by one; and what only looks like them, left alone.
#include "engine/formats/fused_experts.h"

#include <numeric>

#include "engine/formats/checkpoint.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using tensor::DType;
using ::testing::ElementsAre;

constexpr char kBlock[] = "model.layers.2.";

std::vector<float> count_up(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

// Two experts, inner width 1, hidden width 3.
std::unique_ptr<base::Env> fused_model(const std::string& model_type) {
  auto env = base::make_memory_env();
  put(*env, "m/config.json", "{\"model_type\": \"" + model_type + "\"}");
  std::vector<NamedTensor> tensors;
  tensors.push_back(
      named<float>(std::string(kBlock) + "mlp.experts.gate_up_proj", DType::kF32, {2, 2, 3}, count_up(12)));
  tensors.push_back(named<float>(std::string(kBlock) + "mlp.experts.down_proj", DType::kF32, {2, 3, 1}, count_up(6)));
  tensors.push_back(named<float>(std::string(kBlock) + "mlp.gate.weight", DType::kF32, {2, 3}, count_up(6)));
  EXPECT_TRUE(write_safetensors(*env, "m/model.safetensors", tensors).ok());
  return env;
}

std::vector<float> values_of(const TensorSource& tensors, const std::string& name) {
  const auto read = tensors.read(kBlock + name);
  EXPECT_TRUE(read.ok()) << read.status();
  const auto same = tensors.read_f32(kBlock + name, tensors.find(kBlock + name)->shape);
  EXPECT_TRUE(same.ok() && std::ranges::equal(read->as<float>(), same->as<float>())) << name;
  return {read->as<float>().begin(), read->as<float>().end()};
}

TEST(FusedExperts, AreTensorsOfTheirOwn) {
  const auto env = fused_model("qwen3_moe");
  const auto source = open_source(*env, "m");
  ASSERT_TRUE(source.ok()) << source.status();
  const TensorSource& tensors = *source->tensors;
  EXPECT_EQ(tensors.names().size(), 7u);
  EXPECT_FALSE(tensors.contains(std::string(kBlock) + "mlp.experts.gate_up_proj"));
  EXPECT_THAT(values_of(tensors, "mlp.experts.0.gate_proj.weight"), ElementsAre(0, 1, 2));
  EXPECT_THAT(values_of(tensors, "mlp.experts.0.up_proj.weight"), ElementsAre(3, 4, 5));
  EXPECT_THAT(values_of(tensors, "mlp.experts.1.gate_proj.weight"), ElementsAre(6, 7, 8));
  EXPECT_THAT(values_of(tensors, "mlp.experts.1.up_proj.weight"), ElementsAre(9, 10, 11));
  EXPECT_THAT(values_of(tensors, "mlp.experts.1.down_proj.weight"), ElementsAre(3, 4, 5));
  EXPECT_THAT(tensors.find(std::string(kBlock) + "mlp.experts.1.down_proj.weight")->shape, ElementsAre(3, 1));
  EXPECT_TRUE(tensors.contains(std::string(kBlock) + "mlp.gate.weight"));
}

TEST(FusedExperts, OfMixtralHaveTheNamesOfItsFirstRelease) {
  const auto env = fused_model("mixtral");
  const auto source = open_source(*env, "m");
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(values_of(*source->tensors, "block_sparse_moe.experts.1.w1.weight"), ElementsAre(6, 7, 8));
  EXPECT_THAT(values_of(*source->tensors, "block_sparse_moe.experts.1.w3.weight"), ElementsAre(9, 10, 11));
  EXPECT_THAT(values_of(*source->tensors, "block_sparse_moe.experts.0.w2.weight"), ElementsAre(0, 1, 2));
  EXPECT_THAT(values_of(*source->tensors, "block_sparse_moe.gate.weight"), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_FALSE(source->tensors->contains(std::string(kBlock) + "mlp.gate.weight"));
}

TEST(FusedExperts, WhatOnlyLooksLikeThemIsLeftAlone) {
  const auto parts = [](const std::string& name, const tensor::Shape& shape, uint64_t bytes) {
    return split_fused_experts(name, {DType::kBF16, shape, 100, bytes}, expert_names("")).size();
  };
  EXPECT_EQ(parts("a.mlp.experts.gate_up_proj", {2, 4, 3}, 48), 4u);
  EXPECT_EQ(parts("a.mlp.experts.down_proj", {2, 4, 3}, 48), 2u);
  EXPECT_EQ(parts("a.mlp.experts.gate_up_proj", {2, 3, 3}, 36), 0u);
  EXPECT_EQ(parts("a.mlp.experts.gate_up_proj", {4, 3}, 24), 0u);
  EXPECT_EQ(parts("a.mlp.experts.down_proj", {1'000'000'000, 0, 3}, 0), 0u);
  EXPECT_EQ(parts("a.mlp.experts.down_proj", {1'000'000, 1, 1}, 2'000'000), 0u);
  EXPECT_EQ(parts("a.mlp.experts.down_proj.weight", {2, 4, 3}, 48), 0u);
  EXPECT_EQ(parts("down_proj", {2, 4, 3}, 48), 0u);
}

}  // namespace
}  // namespace gridquant::formats
