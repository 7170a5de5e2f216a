// What cannot work gets one clear error of the right kind, and leaves nothing that looks finished.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::tiny_tensors;
using testing::TinyOptions;
using testing::World;

constexpr const char* kUp = "model.layers.1.mlp.up_proj.weight";

formats::NamedTensor& named(std::vector<formats::NamedTensor>& tensors, const std::string& name) {
  for (formats::NamedTensor& t : tensors) {
    if (t.name == name) return t;
  }
  ADD_FAILURE() << name;
  return tensors.front();
}

void expect_error(const Status& status, absl::StatusCode code, const ::testing::Matcher<std::string>& message) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), message);
}

TEST(BadInput, MissingTensorsAreAllNamed) {
  std::vector<formats::NamedTensor> tensors = tiny_tensors({});
  std::erase_if(tensors, [](const formats::NamedTensor& t) { return t.name == kUp || t.name == "model.norm.weight"; });
  World world({}, tensors);
  const Status status = world.run({.uses = "analyze"});
  expect_error(status, absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr(kUp), HasSubstr("model.norm.weight"), HasSubstr("missing")));
  EXPECT_FALSE(world.env->exists("/a/analyze/artifact.json"));
}

TEST(BadInput, MisshapenTensor) {
  std::vector<formats::NamedTensor> tensors = tiny_tensors({});
  named(tensors, kUp).tensor = tensor::Tensor(tensor::DType::kBF16, {95, 64});
  World world({}, tensors);
  expect_error(world.run({.uses = "analyze"}), absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr(kUp), HasSubstr("[95, 64]"), HasSubstr("[96, 64]")));
}

TEST(BadInput, EmbeddingOfAnotherVocabulary) {
  constexpr const char* kEmbedding = "model.embed_tokens.weight";
  std::vector<formats::NamedTensor> tensors = tiny_tensors({});
  const tensor::Shape shape = named(tensors, kEmbedding).tensor.shape();
  const tensor::Shape other = {shape[0] - 1, shape[1]};
  named(tensors, kEmbedding).tensor = tensor::Tensor(tensor::DType::kBF16, other);
  World world({}, tensors);
  expect_error(world.run({.uses = "analyze"}), absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr(kEmbedding), HasSubstr(tensor::to_string(shape)), HasSubstr(tensor::to_string(other))));
}

TEST(BadInput, WrongType) {
  std::vector<formats::NamedTensor> tensors = tiny_tensors({});
  named(tensors, kUp).tensor = tensor::Tensor(tensor::DType::kI32, {96, 64});
  World world({}, tensors);
  expect_error(world.run({.uses = "analyze"}), absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr(kUp), HasSubstr("I32")));
}

TEST(BadInput, NotANumberIsNamedWithItsPlace) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<formats::NamedTensor> tensors = tiny_tensors({});
    named(tensors, kUp).tensor.as<tensor::BF16>()[5 * 64 + 7] = tensor::to_bf16(value);
    World world({}, tensors);
    expect_error(world.run({.uses = "analyze"}), absl::StatusCode::kFailedPrecondition,
                 AllOf(HasSubstr(kUp), HasSubstr("[5, 7]")));
  }
}

TEST(BadInput, UnsupportedArchitecture) {
  TinyOptions options;
  options.architecture = "SpaceshipForCausalLM";
  World world(options);
  expect_error(world.run({.uses = "analyze"}), absl::StatusCode::kUnimplemented,
               AllOf(HasSubstr("SpaceshipForCausalLM"), HasSubstr("LlamaForCausalLM")));
}

TEST(BadInput, NoSuchModel) {
  World world;
  expect_error(world.run({.uses = "analyze", .with = {{"model", "/nowhere"}}}), absl::StatusCode::kNotFound,
               HasSubstr("/nowhere"));
}

TEST(BadInput, TruncatedWeights) {
  World world;
  const auto content = base::read_file(*world.env, "/model/model.safetensors");
  ASSERT_TRUE(content.ok());
  ASSERT_EQ(base::write_file_atomically(*world.env, "/model/model.safetensors", content->substr(0, 5000)),
            absl::OkStatus());
  const Status status = world.run({.uses = "analyze"});
  EXPECT_EQ(exit_code_for(status), ExitCode::kInput) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.safetensors"));
}

TEST(BadInput, GroupSizeThatDoesNotDivide) {
  World world;  // widths 64 and 96
  ASSERT_EQ(world.run_until("calibrate"), absl::OkStatus());
  expect_error(world.run({.uses = "plan", .with = {{"groupSize", 128}}}), absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("q_proj"), HasSubstr("64"), HasSubstr("128"), HasSubstr("32")));
  // One tensor of the model is the reason, so leaving it out helps.
  EXPECT_EQ(world.run({.uses = "plan", .with = {{"groupSize", 64}, {"exclude", {"down_proj"}}}}), absl::OkStatus());
}

TEST(BadInput, NotEnoughText) {
  World world;
  expect_error(world.run_until("calibrate", {{"calibrate", {{"samples", 1000}}}}),
               absl::StatusCode::kFailedPrecondition, AllOf(HasSubstr("/text/en.txt"), HasSubstr("500 are needed")));
}

TEST(BadInput, FewerSamplesThanTexts) {
  World world;
  expect_error(world.run_until("calibrate", {{"calibrate", {{"samples", 1}}}}), absl::StatusCode::kInvalidArgument,
               HasSubstr("samples"));
}

TEST(BadInput, TextThatIsNotUtf8) {
  World world;
  ASSERT_EQ(base::write_file_atomically(*world.env, "/text/ko.txt", "fine\nnot \xff fine\n"), absl::OkStatus());
  const Status status = world.run_until("calibrate");
  expect_error(status, absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("/text/ko.txt"), HasSubstr("line 2")));
}

TEST(BadInput, TokenizerOfAnotherModel) {
  TinyOptions options;
  options.vocab = 100;  // the tokenizer gives bytes up to 'z' = 122
  World world(options);
  expect_error(world.run_until("calibrate"), absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("vocab_size"), HasSubstr("100")));
}

TEST(BadInput, RegularExpressionThatIsNone) {
  World world;
  expect_error(world.run_until("plan", {{"plan", {{"exclude", {"layers.(0"}}}}}), absl::StatusCode::kInvalidArgument,
               HasSubstr("layers.(0"));
}

TEST(BadInput, EverythingExcluded) {
  World world;
  expect_error(world.run_until("plan", {{"plan", {{"exclude", {"."}}}}}), absl::StatusCode::kInvalidArgument,
               HasSubstr("exclude"));
}

TEST(BadInput, ParametersAreAllListed) {
  World world;
  const Status status =
      world.run_until("plan", {{"plan", {{"bits", 5}, {"groupsize", 32}, {"dampPercent", 7}, {"actOrder", "yes"}}}});
  expect_error(status, absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("with.bits"), HasSubstr("with.groupsize"), HasSubstr("with.dampPercent"),
                     HasSubstr("with.actOrder")));
}

TEST(BadInput, UnknownStage) {
  World world;
  expect_error(world.run({.uses = "destroy"}), absl::StatusCode::kUnimplemented, HasSubstr("quantize"));
}

TEST(BadInput, EvaluationOnCalibrationText) {
  World world;
  ASSERT_EQ(world.run_until("quantize"), absl::OkStatus());
  const json same = {{{"path", "/text/ko.txt"}, {"language", "ko"}}};
  expect_error(world.run({.uses = "validate", .with = {{"datasets", same}}}), absl::StatusCode::kFailedPrecondition,
               HasSubstr("/text/ko.txt"));
  // The same text in another file, shifted.
  const auto text = base::read_file(*world.env, "/text/ko.txt");
  ASSERT_TRUE(text.ok());
  ASSERT_EQ(base::write_file_atomically(*world.env, "/text/copy.txt", "A new first line.\n" + *text), absl::OkStatus());
  const json copy = {{{"path", "/text/copy.txt"}, {"language", "ko"}}};
  expect_error(world.run({.uses = "validate", .with = {{"datasets", copy}}}), absl::StatusCode::kFailedPrecondition,
               HasSubstr("calibrated"));
}

TEST(BadInput, ModelThatChangedAfterAnalyze) {
  World world;
  ASSERT_EQ(world.run_until("analyze"), absl::OkStatus());
  TinyOptions other;
  other.blocks = 2;
  testing::write_tiny_model(*world.env, "/model", other);
  expect_error(world.run({.uses = "calibrate"}), absl::StatusCode::kFailedPrecondition, HasSubstr("changed"));
}

TEST(BadInput, DamagedTokens) {
  World world;
  ASSERT_EQ(world.run_until("calibrate"), absl::OkStatus());
  auto bytes = base::read_file(*world.env, "/a/calibrate/tokens.bin");
  ASSERT_TRUE(bytes.ok());
  (*bytes)[100] ^= 1;
  ASSERT_EQ(base::write_file_atomically(*world.env, "/a/calibrate/tokens.bin", *bytes), absl::OkStatus());
  EXPECT_TRUE(absl::IsDataLoss(world.run({.uses = "plan"})));
}

TEST(BadInput, DiskFull) {
  World world;
  ASSERT_EQ(world.run_until("plan"), absl::OkStatus());
  const auto env = base::make_faulty_env(*world.env, [](std::string_view operation, const std::string& path) {
    const bool shard = operation == "append" && path.find("model-00003") != std::string::npos;
    return shard ? absl::ResourceExhaustedError(path + ": no space left on device") : absl::OkStatus();
  });
  const Status status = world.run({.uses = "quantize", .env = env.get()});
  EXPECT_EQ(exit_code_for(status), ExitCode::kNoSpace) << status;
  EXPECT_FALSE(world.env->exists("/a/quantize/checkpoint/model.safetensors.index.json"));
  EXPECT_TRUE(absl::IsDataLoss(world.run({.uses = "validate"})));
}

// A Hessian that is all zero: every column is dead, nothing divides by zero, and the result is still a model.
TEST(Degenerate, DeadInputs) {
  std::vector<formats::NamedTensor> tensors = tiny_tensors({});
  for (tensor::BF16& x : named(tensors, "model.layers.1.input_layernorm.weight").tensor.as<tensor::BF16>()) x.bits = 0;
  World world({}, tensors);
  EXPECT_EQ(world.run_until("validate"), absl::OkStatus());
}

}  // namespace
}  // namespace gridquant::stages
