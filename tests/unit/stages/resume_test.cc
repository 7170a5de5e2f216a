// A run that is stopped anywhere and continued leaves the same bytes as one that was not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stages/task.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::TinyOptions;
using testing::World;

using Files = std::map<std::string, std::string>;

TinyOptions small() {
  TinyOptions options;
  options.blocks = 3;
  options.intermediate = 64;
  return options;
}

// Everything but the manifest, whose summary tells of times and of resuming.
Files result_of(World& world, const std::string& folder) {
  Files files = world.files(folder);
  files.erase("artifact.json");
  return files;
}

void expect_same(const Files& expected, const Files& files, const std::string& what) {
  EXPECT_EQ(expected.size(), files.size()) << what;
  for (const auto& [name, content] : expected) {
    const auto it = files.find(name);
    ASSERT_TRUE(it != files.end()) << name << " is missing, " << what;
    EXPECT_TRUE(it->second == content) << name << " differs, " << what;
  }
}

class Resume : public ::testing::TestWithParam<const char*> {};

TEST_P(Resume, StoppedAtAnyBlock) {
  World world(small());
  const json with = {{"compute", GetParam()}};
  // An excluded weight and RTN's own path are resumed too.
  ASSERT_EQ(world.run_until("plan", {{"plan", {{"exclude", {"layers.1.mlp.down_proj"}}}}}), absl::OkStatus());
  ASSERT_EQ(world.run({.uses = "quantize", .with = with, .artifact = "/whole"}), absl::OkStatus());
  const Files expected = result_of(world, "/whole");
  const json layers = world.summaries["quantize"].at("layers");
  for (int64_t stop = 0; stop < 2; ++stop) {
    const std::string folder = "/stopped" + std::to_string(stop);
    world.sink.on_progress = [&](int64_t done, int64_t) {
      if (done >= stop) world.cancelled = true;
    };
    EXPECT_TRUE(absl::IsCancelled(world.run({.uses = "quantize", .with = with, .artifact = folder})));
    EXPECT_FALSE(world.env->exists(folder + "/artifact.json"));
    EXPECT_FALSE(world.env->exists(folder + "/checkpoint/model.safetensors.index.json"));
    world.sink.on_progress = nullptr;
    world.cancelled = false;
    ASSERT_EQ(world.run({.uses = "quantize", .with = with, .artifact = folder}), absl::OkStatus());
    EXPECT_EQ(world.summaries["quantize"].at("resumed_blocks").get<int64_t>(), stop + 1);
    EXPECT_EQ(world.summaries["quantize"].at("layers"), layers);
    expect_same(expected, result_of(world, folder), folder);
  }
}

INSTANTIATE_TEST_SUITE_P(Compute, Resume, ::testing::Values("fp32", "bf16"));

// Every write, sync, rename and removal fails once, as with a full disk; then the run is repeated.
TEST(ResumeAfterFault, AtEveryOperation) {
  World world(small());
  ASSERT_EQ(world.run_until("plan"), absl::OkStatus());
  ASSERT_EQ(world.run({.uses = "quantize", .artifact = "/whole"}), absl::OkStatus());
  const Files expected = result_of(world, "/whole");
  bool reached_the_end = false;
  int faults = 0;
  for (int fail_at = 0; !reached_the_end && fail_at < 2000; fail_at += 3) {
    const std::string folder = "/faulty" + std::to_string(fail_at);
    std::atomic<int> count{0};
    const auto env = base::make_faulty_env(*world.env, [&](std::string_view operation, const std::string& path) {
      if (operation == "read" || path.rfind(folder, 0) != 0) return absl::OkStatus();
      return count++ < fail_at ? absl::OkStatus() : absl::ResourceExhaustedError(path + ": no space left on device");
    });
    const Status status = world.run({.uses = "quantize", .artifact = folder, .env = env.get()});
    reached_the_end = status.ok();
    if (!status.ok()) {
      ++faults;
      ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
      EXPECT_FALSE(world.env->exists(folder + "/artifact.json")) << fail_at;
    }
    ASSERT_EQ(world.run({.uses = "quantize", .artifact = folder}), absl::OkStatus()) << fail_at;
    expect_same(expected, result_of(world, folder), folder);
    ASSERT_EQ(world.env->remove_tree(folder), absl::OkStatus());
  }
  EXPECT_TRUE(reached_the_end);
  EXPECT_GT(faults, 10);
}

TEST(ResumeKey, OtherPlanStartsOver) {
  World world(small());
  ASSERT_EQ(world.run_until("quantize"), absl::OkStatus());
  ASSERT_EQ(world.env->remove_file("/a/quantize/artifact.json"), absl::OkStatus());
  ASSERT_EQ(world.run({.uses = "plan", .with = {{"bits", 8}}}), absl::OkStatus());
  ASSERT_EQ(world.run({.uses = "quantize"}), absl::OkStatus());
  EXPECT_EQ(world.summaries["quantize"].at("resumed_blocks"), 0);
  EXPECT_EQ(world.summaries["quantize"].at("bytes"), world.summaries["plan"].at("forecast_bytes"));
}

TEST(Artifact, VerifiedFileByFile) {
  World world(small());
  ASSERT_EQ(world.run_until("analyze"), absl::OkStatus());
  const auto artifact = read_artifact(*world.env, "/a/analyze");
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_EQ(verify_artifact(*world.env, "/a/analyze", *artifact, true), absl::OkStatus());
  const auto text = base::read_file(*world.env, "/a/analyze/analysis.json");
  ASSERT_TRUE(text.ok());
  std::string changed = *text;
  changed[changed.size() / 2] ^= 1;
  ASSERT_EQ(base::write_file_atomically(*world.env, "/a/analyze/analysis.json", changed), absl::OkStatus());
  EXPECT_EQ(verify_artifact(*world.env, "/a/analyze", *artifact, false), absl::OkStatus());
  const Status status = verify_artifact(*world.env, "/a/analyze", *artifact, true);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("analysis.json"));
}

}  // namespace
}  // namespace gridquant::stages
