// The reader gives back exactly what the packer was given, and refuses containers that do not fit together.
#include "engine/formats/checkpoint.h"
#include "tests/unit/formats/gptq_testing.h"

namespace gridquant::formats {
namespace {

using quant::QuantizedWeight;
using tensor::DType;

class GptqReaderTest : public ::testing::Test {
 protected:
  void write(const std::vector<NamedTensor>& tensors) {
    ASSERT_TRUE(env_->make_folders("m").ok());
    ASSERT_TRUE(write_safetensors(*env_, "m/model.safetensors", tensors).ok());
  }
  StatusOr<tensor::Tensor> read(int bits) {
    GQ_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(*env_, "m"));
    return dequantize_gptq(checkpoint, "p", bits);
  }
  static std::vector<NamedTensor> pack(const QuantizedWeight& weight) { return *to_gptq("p", weight); }

  // Replaces one part of a good container and expects a refusal that names it.
  void expect_refused(const std::string& name, tensor::Tensor replacement, const std::string& why) {
    auto tensors = pack(random_weight({4, true, 32}, 32, 64));
    for (NamedTensor& tensor : tensors) {
      if (tensor.name == name) tensor.tensor = std::move(replacement);
    }
    write(tensors);
    const Status status = read(4).status();
    expect_message(status, {"m: tensor \"" + name + "\"", why});
    EXPECT_EQ(exit_code_for(status), ExitCode::kInput);
  }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
};

TEST_F(GptqReaderTest, GivesBackEveryWeight) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      for (const int64_t group : {int64_t{32}, int64_t{128}, int64_t{-1}}) {
        const QuantizedWeight weight = random_weight({bits, symmetric, group}, 96, 416);
        write(pack(weight));
        const auto values = read(bits);
        ASSERT_TRUE(values.ok()) << values.status();
        ASSERT_EQ(values->shape(), (tensor::Shape{96, 416}));
        for (int64_t n = 0; n < 96; ++n) {
          for (int64_t k = 0; k < 416; ++k) {
            const int64_t at = n * weight.groups() + k / weight.grid.group_columns(416);
            const float expected =
                tensor::to_float(weight.scales[at]) * static_cast<float>(weight.codes[n * 416 + k] - weight.zeros[at]);
            ASSERT_EQ(values->as<float>()[n * 416 + k], expected) << bits << " bits, n " << n << ", k " << k;
          }
        }
      }
    }
  }
}

// With act-order and no static groups, other programs write any group for any column.
TEST_F(GptqReaderTest, FollowsAnyGroupIndex) {
  const QuantizedWeight weight = random_weight({4, false, 32}, 32, 96);
  auto tensors = pack(weight);
  std::vector<int32_t> groups(96);
  for (int32_t k = 0; k < 96; ++k) groups[k] = (k * 7 + 1) % 3;
  for (NamedTensor& tensor : tensors) {
    if (tensor.name == "p.g_idx") tensor.tensor = make_tensor(DType::kI32, {96}, groups);
  }
  write(tensors);
  const auto values = read(4);
  ASSERT_TRUE(values.ok()) << values.status();
  for (int64_t n = 0; n < 32; ++n) {
    for (int64_t k = 0; k < 96; ++k) {
      const int64_t at = n * 3 + groups[k];
      EXPECT_EQ(values->as<float>()[n * 96 + k],
                tensor::to_float(weight.scales[at]) * static_cast<float>(weight.codes[n * 96 + k] - weight.zeros[at]));
    }
  }
}

TEST_F(GptqReaderTest, RefusesPartsThatDoNotFit) {
  const auto ints = [](tensor::Shape shape, int32_t value) {
    const size_t count = static_cast<size_t>(tensor::element_count(shape));
    return make_tensor<int32_t>(DType::kI32, std::move(shape), std::vector<int32_t>(count, value));
  };
  expect_refused("p.qweight", ints({8, 16}, 0), "has the shape [8, 16] where [8, 32] belongs");
  expect_refused("p.qweight", ints({256}, 0), "has the shape [256]");
  expect_refused("p.qweight", make_tensor<float>(DType::kF32, {8, 32}, std::vector<float>(256)), "is F32, not I32");
  expect_refused("p.qzeros", ints({2, 8}, 0), "where [2, 4] belongs");
  expect_refused("p.qzeros", ints({2, 4}, -1), "zero point -1");
  expect_refused("p.scales", make_tensor<float>(DType::kF32, {2, 32}, std::vector<float>(64)), "is F32, not F16");
  expect_refused("p.scales", make_tensor<uint16_t>(DType::kF16, {2, 32}, std::vector<uint16_t>(64, 0x7e00)), "NaN");
  expect_refused("p.scales", make_tensor<uint16_t>(DType::kF16, {0, 32}, {}), "has the shape [0, 32]");
  expect_refused("p.g_idx", ints({64}, 2), "holds the group 2 of 2");
  expect_refused("p.g_idx", ints({64}, -1), "holds the group -1 of 2");
}

TEST_F(GptqReaderTest, SaysWhatIsMissing) {
  auto tensors = pack(random_weight({4, true, 32}, 32, 64));
  tensors.pop_back();  // g_idx
  write(tensors);
  expect_message(read(4).status(), {"m: the model has no tensor \"p.g_idx\""});
  EXPECT_TRUE(absl::IsInvalidArgument(read(5).status()));
}

TEST_F(GptqReaderTest, TheWrongNumberOfBitsDoesNotFit) {
  write(pack(random_weight({4, true, 32}, 32, 64)));
  expect_message(read(8).status(), {"p.qweight", "has the shape [8, 32] where [16, 32] belongs"});
}

}  // namespace
}  // namespace gridquant::formats
