// All five stages on a tiny model: what they leave, and that threads, prefetching and reruns do not show in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stages/plan_file.h"
#include "stages/token_store.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::tiny_text;
using testing::TinyOptions;
using testing::World;

TEST(Pipeline, AllFiveStages) {
  World world;
  ASSERT_EQ(world.run_until("validate"), absl::OkStatus());
  EXPECT_EQ(world.summaries["analyze"].at("blocks"), 3);
  EXPECT_EQ(world.summaries["analyze"].at("dtype"), "BF16");
  EXPECT_EQ(world.summaries["calibrate"].at("languages").at("ko").at("sequences"), 5);
  EXPECT_EQ(world.summaries["plan"].at("quantized_tensors"), 21);
  const json& quantize = world.summaries["quantize"];
  EXPECT_EQ(quantize.at("layers").size(), 21u);
  EXPECT_EQ(quantize.at("resumed_blocks"), 0);
  EXPECT_LT(quantize.at("bytes").get<int64_t>(), quantize.at("original_bytes").get<int64_t>());
  const json& english = world.summaries["validate"].at("languages").at("en");
  EXPECT_GT(english.at("kl_mean").get<double>(), 0);
  EXPECT_LT(english.at("kl_mean").get<double>(), 0.5);
  EXPECT_GT(english.at("top1_agreement").get<double>(), 0.5);
  EXPECT_GT(english.at("perplexity_original").get<double>(), 1);
  EXPECT_EQ(world.summaries["validate"].at("blocks").size(), 3u);
  const auto files = world.files("/a/quantize");
  for (const char* name :
       {"artifact.json", "checkpoint/config.json", "checkpoint/quantize_config.json",
        "checkpoint/model.safetensors.index.json", "checkpoint/tokenizer.json", "checkpoint/generation_config.json"}) {
    EXPECT_TRUE(files.contains(name)) << name;
  }
}

TEST(Pipeline, ForecastIsExact) {
  for (const bool tied : {true, false}) {
    TinyOptions options;
    options.tied = tied;
    World world(options);
    ASSERT_EQ(world.run_until("quantize", {{"plan", {{"exclude", {"layers.1.*o_proj"}}}}}), absl::OkStatus());
    uint64_t real = 0;
    for (const auto& [name, content] : world.files("/a/quantize/checkpoint")) {
      if (name.ends_with(".safetensors")) real += content.size();
    }
    EXPECT_EQ(world.summaries["plan"].at("forecast_bytes").get<uint64_t>(), real);
    EXPECT_EQ(world.summaries["quantize"].at("bytes").get<uint64_t>(), real);
  }
}

std::map<std::string, std::string> checkpoint_after(World& world, const World::Run& run) {
  EXPECT_EQ(world.run(run), absl::OkStatus());
  return world.files(run.artifact);
}

// artifact.json names phases and threads; everything else must be equal.
void expect_equal_files(std::map<std::string, std::string> a, std::map<std::string, std::string> b) {
  a.erase("artifact.json");
  b.erase("artifact.json");
  ASSERT_GT(a.size(), 5u);
  for (const auto& [name, content] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    EXPECT_TRUE(content == b.at(name)) << name << " differs";
  }
  EXPECT_EQ(a.size(), b.size());
}

TEST(Pipeline, ThreadsAndPrefetchDoNotShow) {
  for (const char* compute : {"fp32", "bf16"}) {
    World world;
    ASSERT_EQ(world.run_until("plan"), absl::OkStatus());
    const json with = {{"compute", compute}};
    const auto one = checkpoint_after(world, {.uses = "quantize", .with = with, .artifact = "/q1", .threads = 1});
    for (const int threads : {2, 4}) {
      const std::string folder = "/q" + std::to_string(threads);
      expect_equal_files(
          one, checkpoint_after(world, {.uses = "quantize", .with = with, .artifact = folder, .threads = threads}));
    }
    const json off = {{"compute", compute}, {"prefetch", false}};
    expect_equal_files(one, checkpoint_after(world, {.uses = "quantize", .with = off, .artifact = "/off"}));
  }
}

TEST(Pipeline, OtherStagesDoNotShowThreadsEither) {
  World world;
  ASSERT_EQ(world.run_until("validate"), absl::OkStatus());
  for (const char* uses : {"analyze", "calibrate", "plan", "validate"}) {
    const std::string folder = std::string("/one/") + uses;
    ASSERT_EQ(world.run({.uses = uses, .artifact = folder, .threads = 1}), absl::OkStatus());
    auto one = world.files(folder);
    auto two = world.files(std::string("/a/") + uses);
    one.erase("artifact.json");
    two.erase("artifact.json");
    EXPECT_FALSE(one.empty());
    EXPECT_TRUE(one == two) << uses;
  }
}

TEST(Pipeline, GptqHasTheSmallerHessianError) {
  World world;
  ASSERT_EQ(world.run_until("validate", {{"plan", {{"bits", 3}}}}), absl::OkStatus());
  const double gptq = world.summaries["validate"].at("languages").at("en").at("kl_mean").get<double>();
  EXPECT_TRUE(world.summaries["quantize"].at("fallbacks").empty());
  World rounded;
  ASSERT_EQ(rounded.run_until("validate", {{"plan", {{"bits", 3}, {"solver", "rtn"}}}}), absl::OkStatus());
  const double rtn = rounded.summaries["validate"].at("languages").at("en").at("kl_mean").get<double>();
  EXPECT_LT(gptq, rtn);
}

TEST(Pipeline, EveryGridRuns) {
  for (const json& plan : {json{{"bits", 2}, {"groupSize", -1}}, json{{"bits", 3}, {"symmetric", false}},
                           json{{"bits", 4}, {"actOrder", false}}, json{{"bits", 8}, {"scaleSearch", "absmax"}},
                           json{{"bits", 4}, {"solver", "rtn"}, {"symmetric", false}}}) {
    World world;
    ASSERT_EQ(world.run_until("validate", {{"plan", plan}}), absl::OkStatus()) << plan;
  }
}

TEST(Pipeline, EightBitsAreAlmostTheOriginal) {
  World world;
  ASSERT_EQ(world.run_until("validate", {{"plan", {{"bits", 8}}}}), absl::OkStatus());
  for (const auto& [language, result] : world.summaries["validate"].at("languages").items()) {
    EXPECT_LT(result.at("kl_mean").get<double>(), 1e-3) << language;
    EXPECT_NEAR(result.at("perplexity_increase").get<double>(), 0, 0.01) << language;
  }
}

TEST(Pipeline, WeightsOfAllTypes) {
  for (const tensor::DType dtype : {tensor::DType::kF32, tensor::DType::kF16}) {
    TinyOptions options;
    options.dtype = dtype;
    World world(options);
    EXPECT_EQ(world.run_until("validate"), absl::OkStatus());
  }
}

TEST(Pipeline, CalibratesOnAMixtureOfFormats) {
  World world;
  const auto write = [&](const std::string& path, const std::string& text) {
    ASSERT_EQ(base::write_file_atomically(*world.env, path, text), absl::OkStatus());
  };
  const json message = {{"role", "user"}, {"content", tiny_text(3000, 5)}};
  write("/model/chat_template.jinja", "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}");
  write("/text/chats.jsonl", json{{"messages", {message}}}.dump() + "\n" +
                                 json{{"messages", {{{"role", "tool"}, {"content", "x"}}}}}.dump() + "\n");
  write("/text/table.csv", "id,body\n1,\"" + tiny_text(3000, 6) + "\"\n");
  ASSERT_EQ(world.run({.uses = "analyze"}), absl::OkStatus());
  json with = {{"samples", 8},
               {"datasets",
                {{{"path", "/text/chats.jsonl"}, {"language", "en"}, {"weight", 2}},
                 {{"path", "/text/table.csv"}, {"language", "ko"}, {"field", "body"}},
                 {{"path", "/text/en.txt"}, {"language", "en"}}}}};
  ASSERT_EQ(world.run({.uses = "calibrate", .with = with}), absl::OkStatus());
  const json info = json::parse(world.files("/a/calibrate").at("tokens.json"));
  EXPECT_EQ(info.at("texts")[0].at("sequences"), 4);
  EXPECT_EQ(info.at("texts")[1].at("sequences"), 2);
  EXPECT_EQ(info.at("texts")[2].at("sequences"), 2);
  EXPECT_EQ(info.at("digest"), world.summaries["calibrate"].at("tokens_digest"));
  ASSERT_EQ(world.sink.warnings.size(), 1u);
  EXPECT_THAT(world.sink.warnings[0], HasSubstr("/text/chats.jsonl: 1 conversations with tools were left out"));

  with["datasets"][1]["field"] = "text";
  const Status bad = world.run({.uses = "calibrate", .with = with, .artifact = "/bad"});
  EXPECT_THAT(std::string(bad.message()), HasSubstr("/text/table.csv:1: has no column \"text\"; its columns are"));
  with["datasets"][1]["weight"] = 1e-6;
  EXPECT_THAT(std::string(world.run({.uses = "calibrate", .with = with, .artifact = "/bad"}).message()),
              HasSubstr("data set 2 of 3 would get none of the 8 samples"));
}

TEST(Pipeline, TokensOnlyWithoutStatistics) {
  World world;
  ASSERT_EQ(world.run_until("quantize", {{"calibrate", {{"statistics", "none"}}}}), absl::OkStatus());
  EXPECT_FALSE(world.files("/a/calibrate").contains("statistics.safetensors"));
}

TEST(Pipeline, PlanNamesReasons) {
  World world;
  ASSERT_EQ(world.run_until("plan", {{"plan", {{"exclude", {"layers.0.", "nothing_has_this"}}}}}), absl::OkStatus());
  const auto plan = read_plan(*world.env, "/a/plan");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->find("model.layers.0.mlp.up_proj.weight")->reason, "excluded by /layers.0./");
  EXPECT_EQ(plan->find("model.layers.0.input_layernorm.weight")->reason, "norm");
  EXPECT_EQ(plan->find("model.embed_tokens.weight")->reason, "embedding");
  EXPECT_TRUE(plan->find("model.layers.1.mlp.up_proj.weight")->quantize);
  EXPECT_EQ(plan->excluded_modules().size(), 7u);
  EXPECT_THAT(world.sink.warnings, ::testing::Contains(HasSubstr("nothing_has_this")));
}

TEST(Pipeline, ProgressNeverGoesBack) {
  World world;
  ASSERT_EQ(world.run_until("plan"), absl::OkStatus());
  world.sink.steps.clear();
  ASSERT_EQ(world.run({.uses = "quantize"}), absl::OkStatus());
  ASSERT_FALSE(world.sink.steps.empty());
  for (size_t i = 1; i < world.sink.steps.size(); ++i) {
    EXPECT_GE(world.sink.steps[i].first, world.sink.steps[i - 1].first);
  }
  EXPECT_EQ(world.sink.steps.back().first, world.sink.steps.back().second);
}

TEST(Pipeline, SequencesAreInterleaved) {
  World world;
  ASSERT_EQ(world.run_until("calibrate", {{"calibrate", {{"samples", 3}}}}), absl::OkStatus());
  const auto tokens = read_tokens(*world.env, "/a/calibrate");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->languages, (std::vector<std::string>{"en", "ko"}));
  EXPECT_EQ(tokens->language_of, (std::vector<int>{0, 1, 0}));
}

}  // namespace
}  // namespace gridquant::stages
