// A model folder, whole or in shards, and the checks on every weight that goes through read_f32.
#include <cmath>
#include <limits>

#include "engine/formats/checkpoint.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using tensor::DType;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(env_->make_folders("m").ok()); }

  void write(const std::string& file, std::vector<NamedTensor> tensors) {
    ASSERT_TRUE(write_safetensors(*env_, "m/" + file, tensors).ok());
  }
  void write_single(NamedTensor tensor) {
    std::vector<NamedTensor> tensors;
    tensors.push_back(std::move(tensor));
    write("model.safetensors", std::move(tensors));
  }
  void write_shards() {
    std::vector<NamedTensor> first;
    first.push_back(named<float>("x", DType::kF32, {2}, {1, 2}));
    write("s-1.safetensors", std::move(first));
    std::vector<NamedTensor> second;
    second.push_back(named<float>("y", DType::kF32, {1}, {3}));
    second.push_back(named<uint8_t>("z", DType::kU8, {3}, {4, 5, 6}));
    write("s-2.safetensors", std::move(second));
  }
  void write_index(const std::string& weight_map) {
    put(*env_, "m/model.safetensors.index.json", R"({"metadata":{"total_size":15},"weight_map":)" + weight_map + "}");
  }
  Status open_status() { return Checkpoint::open(*env_, "m").status(); }
  StatusOr<tensor::Tensor> read_f32(const std::string& name, const tensor::Shape& shape) {
    GQ_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(*env_, "m"));
    return checkpoint.read_f32(name, shape);
  }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
};

TEST_F(CheckpointTest, OneFile) {
  write_single(named<float>("x", DType::kF32, {2}, {1, 2}));
  const auto checkpoint = Checkpoint::open(*env_, "m");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->names(), ::testing::ElementsAre("x"));
  EXPECT_THAT(checkpoint->files(), ::testing::ElementsAre("model.safetensors"));
  EXPECT_EQ(checkpoint->path(), "m");
  EXPECT_EQ(checkpoint->total_bytes(), 8u);
}

TEST_F(CheckpointTest, Shards) {
  write_shards();
  write_index(R"({"z":"s-2.safetensors","x":"s-1.safetensors","y":"s-2.safetensors"})");
  const auto checkpoint = Checkpoint::open(*env_, "m");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->names(), ::testing::ElementsAre("x", "y", "z"));
  EXPECT_THAT(checkpoint->files(), ::testing::ElementsAre("s-1.safetensors", "s-2.safetensors"));
  EXPECT_EQ(checkpoint->total_bytes(), 15u);
  EXPECT_TRUE(checkpoint->contains("y"));
  EXPECT_EQ(checkpoint->find("nothing"), nullptr);
  ASSERT_NE(checkpoint->find("z"), nullptr);
  EXPECT_EQ(checkpoint->find("z")->dtype, DType::kU8);
  EXPECT_EQ(checkpoint->read("z")->as<uint8_t>()[2], 6);
  EXPECT_TRUE(absl::IsNotFound(checkpoint->read("nothing").status()));
}

TEST_F(CheckpointTest, MissingFolderAndFiles) {
  expect_message(Checkpoint::open(*env_, "no").status(), {"no: there is no such folder"});
  expect_message(open_status(), {"m: neither model.safetensors nor"});
  put(*env_, "m/pytorch_model.bin", "x");
  expect_message(open_status(), {"pytorch_model.bin is not read"});
  expect_message(Checkpoint::open(*env_, "m/pytorch_model.bin").status(), {"this is a file"});
}

TEST_F(CheckpointTest, MissingShardAndTensor) {
  write_shards();
  write_index(R"({"x":"s-1.safetensors","y":"s-3.safetensors"})");
  expect_message(open_status(), {"m: the file s-3.safetensors", "is missing"});
  write_index(R"({"x":"s-2.safetensors"})");
  expect_message(open_status(), {"tensor \"x\"", "s-2.safetensors", "is not there"});
  put(*env_, "m/s-1.safetensors", "short");
  write_index(R"({"x":"s-1.safetensors"})");
  expect_message(open_status(), {"m/s-1.safetensors: a file of 5 bytes"});
}

TEST_F(CheckpointTest, LyingIndex) {
  write_shards();
  for (const char* shard : {"7", "null", "\"../s-1.safetensors\"", "\"/m/s-1.safetensors\"", "\"d/s-1.safetensors\"",
                            "\"..safetensors\"", "\"\"", "\"model.bin\"", "\"s\\u0000.safetensors\""}) {
    write_index("{\"x\":" + std::string(shard) + "}");
    const Status status = open_status();
    expect_message(status, {"m/model.safetensors.index.json", "tensor \"x\"", "beside it"});
    EXPECT_EQ(exit_code_for(status), ExitCode::kInput);
  }
  write_index("[]");
  expect_message(open_status(), {"no object \"weight_map\""});
  write_index(R"({"x":"s-1.safetensors","x":"s-2.safetensors"})");
  expect_message(open_status(), {"the key \"x\" appears twice"});
  for (const char* text : {"", "[]", "{", "{}", "\xff"}) {
    put(*env_, "m/model.safetensors.index.json", text);
    expect_message(open_status(), {"m/model.safetensors.index.json: "});
  }
}

TEST_F(CheckpointTest, ReadsFloatsAsF32) {
  std::vector<NamedTensor> tensors;
  tensors.push_back(named<float>("f32", DType::kF32, {3}, {1.5f, -2.0f, 1e-40f}));
  tensors.push_back(named<uint16_t>("bf16", DType::kBF16, {3}, {0x3fc0, 0xc000, 0x0001}));
  tensors.push_back(named<uint16_t>("f16", DType::kF16, {3}, {0x3e00, 0xc000, 0x0001}));
  tensors.push_back(named<int32_t>("i32", DType::kI32, {3}, {1, 2, 3}));
  write("model.safetensors", std::move(tensors));
  EXPECT_THAT(read_f32("f32", {3})->as<float>(), ::testing::ElementsAre(1.5f, -2.0f, 1e-40f));
  EXPECT_THAT(read_f32("bf16", {3})->as<float>(), ::testing::ElementsAre(1.5f, -2.0f, std::ldexp(1.0f, -133)));
  EXPECT_THAT(read_f32("f16", {3})->as<float>(), ::testing::ElementsAre(1.5f, -2.0f, std::ldexp(1.0f, -24)));
  expect_message(read_f32("i32", {3}).status(), {"m/model.safetensors", "\"i32\" is I32", "quantized already?"});
  expect_message(read_f32("f32", {3, 1}).status(), {"\"f32\"", "shape [3]", "calls for [3, 1]"});
  expect_message(read_f32("gone", {3}).status(), {"m: the model has no tensor \"gone\""});
}

TEST_F(CheckpointTest, NamesTheFirstBadElementWhereverItIs) {
  const int64_t columns = 7;
  const int64_t count = 70'007;  // more than one chunk of the reader, and a tail
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int64_t bad : {int64_t{0}, int64_t{15}, int64_t{16}, int64_t{65'535}, int64_t{65'536}, count - 1}) {
      for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity(), -INFINITY}) {
        tensor::Tensor weights(dtype, {count / columns, columns});
        std::memset(weights.raw().data(), 0, weights.bytes());
        const auto set = [&](int64_t at) {
          if (dtype == DType::kF32) weights.as<float>()[at] = value;
          if (dtype == DType::kBF16) weights.as<tensor::BF16>()[at] = tensor::to_bf16(value);
          if (dtype == DType::kF16) weights.as<tensor::F16>()[at] = tensor::to_f16(value);
        };
        set(bad);
        set(count - 1);
        write_single({"w", std::move(weights)});
        expect_message(
            read_f32("w", {count / columns, columns}).status(),
            {"m/model.safetensors", "\"w\", element " + std::to_string(bad) + " (row " + std::to_string(bad / columns) +
                                        ", column " + std::to_string(bad % columns) + ")"});
      }
    }
  }
}

TEST_F(CheckpointTest, LargestNumbersAreFinite) {
  const float largest = std::numeric_limits<float>::max();
  write_single({"w", make_tensor<float>(DType::kF32, {17}, std::vector<float>(17, -largest))});
  EXPECT_TRUE(read_f32("w", {17}).ok());
  write_single({"w", make_tensor<uint16_t>(DType::kF16, {17}, std::vector<uint16_t>(17, 0x7bff))});
  EXPECT_TRUE(read_f32("w", {17}).ok());
}

}  // namespace
}  // namespace gridquant::formats
