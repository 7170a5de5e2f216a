// Sampling, and calibration text that the model writes itself.
#include "stages/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "stages/sampling.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::World;

TEST(Sampling, FollowsTheProbabilities) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f), std::log(2.0f)};
  std::map<int32_t, int> counts;
  for (uint64_t i = 0; i < 10'000; ++i) ++counts[sample(logits, {}, uniform_at(1, i, 7))];
  EXPECT_NEAR(counts[0], 1000, 150);
  EXPECT_NEAR(counts[1], 2000, 200);
  EXPECT_NEAR(counts[2], 5000, 250);
  EXPECT_NEAR(counts[3], 2000, 200);
}

TEST(Sampling, CutsOffWhatIsUnlikely) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f), std::log(2.0f)};
  for (uint64_t i = 0; i < 1000; ++i) {
    const double u = uniform_at(2, 0, i);
    EXPECT_EQ(sample(logits, {.temperature = 0}, u), 2);
    EXPECT_EQ(sample(logits, {.top_k = 1}, u), 2);
    EXPECT_NE(sample(logits, {.top_k = 3}, u), 0);
    EXPECT_NE(sample(logits, {.top_k = 2}, u), 3) << "of equal tokens the first";
    EXPECT_EQ(sample(logits, {.top_p = 0.5}, u), 2);
    EXPECT_NE(sample(logits, {.top_p = 0.6}, u), 3);
    EXPECT_EQ(sample(logits, {.top_k = 2, .top_p = 0.7}, u), 2) << "5 of 7";
  }
  EXPECT_EQ(sample(logits, {}, 0), 0);
  EXPECT_EQ(sample(logits, {}, std::nextafter(1.0, 0.0)), 3);
}

TEST(Sampling, NumbersAreSpread) {
  double sum = 0;
  for (uint64_t s = 0; s < 100; ++s) {
    for (uint64_t p = 0; p < 100; ++p) sum += uniform_at(5, s, p);
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.01);
  EXPECT_NE(uniform_at(1, 2, 3), uniform_at(1, 3, 2));
  EXPECT_NE(uniform_at(1, 2, 3), uniform_at(2, 1, 3));
}

class Generate : public ::testing::Test {
 protected:
  void SetUp() override {
    write("/model/tokenizer_config.json", R"({"eos_token": "Z"})");
    write("/text/starts.txt", "hello\n\nworld again\n");
    ASSERT_EQ(world_.run({.uses = "analyze"}), absl::OkStatus());
  }
  void write(const std::string& path, const std::string& text) {
    ASSERT_EQ(base::write_file_atomically(*world_.env, path, text), absl::OkStatus());
  }
  Status calibrate(const json& generate, const std::string& artifact, int threads = 2,
                   const json& datasets = json::array()) {
    return world_.run(
        {.uses = "calibrate",
         .with = {{"datasets", datasets}, {"generate", generate}, {"samples", 20}, {"sequenceLength", 24}},
         .artifact = artifact,
         .threads = threads});
  }
  TokenSet tokens(const std::string& artifact) { return read_tokens(*world_.env, artifact).value(); }

  World world_;
  const json own_ = {{{"language", "en"}, {"prompts", "/text/starts.txt"}, {"weight", 3}},
                     {{"language", "ko"}, {"topK", 40}, {"topP", 0.9}, {"temperature", 0.8}}};
};

TEST_F(Generate, ThreadsDoNotShowAndSeedsDo) {
  ASSERT_EQ(calibrate(own_, "/one", 1), absl::OkStatus());
  const TokenSet one = tokens("/one");
  EXPECT_EQ(one.count(), 20);
  EXPECT_EQ(one.count_of(0), 15);
  EXPECT_EQ(one.languages, (std::vector<std::string>{"en", "ko"}));
  for (const int threads : {2, 4}) {
    ASSERT_EQ(calibrate(own_, "/more" + std::to_string(threads), threads), absl::OkStatus());
    EXPECT_EQ(tokens("/more" + std::to_string(threads)).digest, one.digest);
  }
  ASSERT_EQ(
      world_.run(
          {.uses = "calibrate",
           .with =
               {{"datasets", json::array()}, {"generate", own_}, {"samples", 20}, {"sequenceLength", 24}, {"seed", 1}},
           .artifact = "/other"}),
      absl::OkStatus());
  EXPECT_NE(tokens("/other").digest, one.digest);
}

// Weights read again for every token, 16 sequences at a time: the same tokens.
TEST_F(Generate, MemoryDoesNotShow) {
  json with = {{"datasets", json::array()}, {"generate", own_}, {"samples", 20}, {"sequenceLength", 24}};
  ASSERT_EQ(world_.run({.uses = "calibrate", .with = with, .artifact = "/one"}), absl::OkStatus());
  EXPECT_TRUE(world_.sink.warnings.empty());
  with["generationMemory"] = "1";
  ASSERT_EQ(world_.run({.uses = "calibrate", .with = with, .artifact = "/small"}), absl::OkStatus());
  ASSERT_EQ(world_.sink.warnings.size(), 1u);
  EXPECT_THAT(world_.sink.warnings[0], HasSubstr("generationMemory"));
  EXPECT_EQ(tokens("/small").digest, tokens("/one").digest);
}

// The tokenizer's ids are bytes.
TEST_F(Generate, StartsWithThePromptsInTurn) {
  ASSERT_EQ(calibrate(own_, "/g"), absl::OkStatus());
  const TokenSet all = tokens("/g");
  const auto starts_with = [&](int64_t i, const std::string& text) {
    return std::equal(text.begin(), text.end(), all.sequence(i).begin(), [](char c, int32_t id) { return c == id; });
  };
  EXPECT_TRUE(starts_with(0, "hello"));
  EXPECT_TRUE(starts_with(1, "Z")) << "no BOS and no prompt: EOS";
  EXPECT_TRUE(starts_with(2, "world again"));
}

TEST_F(Generate, StandsBesideDataSets) {
  const json datasets = {{{"path", "/text/en.txt"}, {"language", "en"}}};
  ASSERT_EQ(calibrate({{{"language", "ko"}}}, "/g", 2, datasets), absl::OkStatus());
  EXPECT_EQ(tokens("/g").count_of(0), 10);
  EXPECT_EQ(tokens("/g").count_of(1), 10);
  EXPECT_EQ(tokens("/g").texts[1].at("generated"), true);
}

TEST_F(Generate, MistakesAreNamed) {
  EXPECT_THAT(std::string(calibrate(json::array(), "/bad").message()),
              HasSubstr("one of with.datasets, with.generate is needed"));
  const json prompts = {{{"language", "en"}, {"prompts", "/text/p.txt"}}};
  EXPECT_TRUE(absl::IsNotFound(calibrate(prompts, "/bad")));
  write("/text/p.txt", "\n\n");
  EXPECT_THAT(std::string(calibrate(prompts, "/bad").message()), HasSubstr("/text/p.txt: has no prompt in it"));
  write("/text/p.txt", "ok\n" + std::string(30, 'x'));
  EXPECT_THAT(std::string(calibrate(prompts, "/bad").message()),
              HasSubstr("/text/p.txt:2: a prompt of 30 tokens leaves nothing to generate in sequences of 24"));
  write("/text/p.txt", "a\n\xff");
  EXPECT_THAT(std::string(calibrate(prompts, "/bad").message()), HasSubstr("is not UTF-8 at line 2"));
  write("/model/tokenizer_config.json", "{}");
  EXPECT_THAT(std::string(calibrate({{{"language", "en"}}}, "/bad").message()),
              HasSubstr("neither a BOS nor an EOS token"));
}

}  // namespace
}  // namespace gridquant::stages
