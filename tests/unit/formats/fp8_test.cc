// FP8 checkpoints read as what they stand for. All codes beside torch: tests/interop/adapter.py.
#include "engine/formats/fp8.h"

#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using tensor::DType;

constexpr char kBlocks[] =
    R"({"a": 1, "quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 2]}, "b": 2})";

class Fp8Test : public ::testing::Test {
 protected:
  void write(const std::string& config, std::vector<NamedTensor> tensors) {
    put(*env_, "m/config.json", config);
    ASSERT_TRUE(write_safetensors(*env_, "m/model.safetensors", tensors).ok());
  }
  static std::vector<NamedTensor> weight(const std::string& scale, const tensor::Shape& shape,
                                         std::vector<float> scales) {
    std::vector<NamedTensor> tensors;
    // 1, 2, -1 / 4, smallest subnormal, 448
    tensors.push_back(named<uint8_t>("w.weight", DType::kF8E4M3, {2, 3}, {0x38, 0x40, 0xb8, 0x48, 0x01, 0x7e}));
    tensors.push_back(named<float>(scale, DType::kF32, shape, scales));
    tensors.push_back(named<float>("n.weight", DType::kF32, {1}, {9}));
    return tensors;
  }
  StatusOr<tensor::Tensor> read() {
    GQ_ASSIGN_OR_RETURN(const Source source, open_source(*env_, "m"));
    return source.tensors->read_f32("w.weight", {2, 3});
  }
  std::unique_ptr<base::Env> env_ = base::make_memory_env();
};

TEST_F(Fp8Test, Blocks) {
  write(kBlocks, weight("w.weight_scale_inv", {1, 2}, {2, 10}));
  EXPECT_THAT(read()->as<float>(), ::testing::ElementsAre(2, 4, -10, 8, 0x1p-8f, 4480));
  const auto source = open_source(*env_, "m");
  EXPECT_THAT(source->tensors->names(), ::testing::ElementsAre("n.weight", "w.weight"));
  EXPECT_EQ(source->tensors->find("w.weight_scale_inv"), nullptr);
  EXPECT_EQ(source->tensors->find("w.weight")->dtype, DType::kBF16);
  EXPECT_EQ(source->tensors->find("w.weight")->bytes, 12u);
  EXPECT_EQ(tensor::to_float(source->tensors->read("w.weight")->as<tensor::BF16>()[2]), -10.0f);
  EXPECT_EQ(source->tensors->read("n.weight")->as<float>()[0], 9);
  EXPECT_EQ(*source->texts->read("config.json"), "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
}

TEST_F(Fp8Test, TensorsAndRows) {
  const char* per_tensor =
      R"({"quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"}})";
  write(per_tensor, weight("w.weight_scale", {1}, {3}));
  EXPECT_THAT(read()->as<float>(), ::testing::ElementsAre(3, 6, -3, 12, 3 * 0x1p-9f, 1344));
  write(per_tensor, weight("w.weight_scale", {2, 1}, {1, 2}));
  EXPECT_THAT(read()->as<float>(), ::testing::ElementsAre(1, 2, -1, 8, 0x1p-8f, 896));
}

TEST_F(Fp8Test, Malformed) {
  write(kBlocks, weight("other", {1, 2}, {2, 10}));
  expect_message(read().status(), {"\"w.weight\" is FP8", "neither w.weight_scale_inv nor w.weight_scale"});
  write(kBlocks, weight("w.weight_scale_inv", {2, 2}, {1, 1, 1, 1}));
  expect_message(read().status(), {"[2, 2] of w.weight_scale_inv fits neither"});
  write(kBlocks, weight("w.weight_scale_inv", {1, 2}, {1, std::nanf("")}));
  expect_message(read().status(), {"w.weight_scale_inv", "not a finite"});
  auto tensors = weight("w.weight_scale_inv", {1, 2}, {1, 1});
  tensors[0].tensor.as<uint8_t>()[4] = 0x7f;
  write(kBlocks, std::move(tensors));
  expect_message(read().status(), {"\"w.weight\", element [1, 1]", "not a finite"});
  for (const char* size : {"[2]", "[0, 2]", "[2, -1]", "\"2\"", "[1e9, 2]", "[2, 2.5]"}) {
    write(R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": )" + std::string(size) + "}}",
          weight("w.weight_scale_inv", {1, 2}, {1, 1}));
    expect_message(read().status(), {"m/config.json: weight_block_size"});
  }
}

TEST(E4M3, Values) {
  EXPECT_EQ(e4m3_value(0x00), 0);
  EXPECT_EQ(e4m3_value(0x07), 7 * 0x1p-9f);
  EXPECT_EQ(e4m3_value(0x08), 0x1p-6f);
  EXPECT_EQ(e4m3_value(0xfe), -448);
  EXPECT_TRUE(std::isnan(e4m3_value(0x7f)) && std::isnan(e4m3_value(0xff)));
}

}  // namespace
}  // namespace gridquant::formats
