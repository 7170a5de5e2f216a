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

class FreshOrder : public ::testing::Test {
 protected:
  FreshOrder() {
    EXPECT_EQ(world_.run_until("plan"), absl::OkStatus());
    EXPECT_EQ(quantize(""), absl::OkStatus());
    expected_ = result_of(world_, kFolder);
  }
  Status quantize(const std::string& order, base::Env* env = nullptr) {
    return world_.run({.uses = "quantize", .env = env, .key = "k", .fresh = order});
  }
  int64_t resumed() { return world_.summaries["quantize"].at("resumed_blocks").get<int64_t>(); }
  void expect_whole(const std::string& what) {
    Files files = result_of(world_, kFolder);
    files.erase(".fresh");
    expect_same(expected_, files, what);
  }

  static constexpr const char* kFolder = "/a/quantize";
  World world_{small()};
  Files expected_;
};

TEST_F(FreshOrder, IsCarriedOutOnce) {
  world_.sink.on_progress = [&](int64_t done, int64_t) { world_.cancelled = done >= 1; };
  EXPECT_TRUE(absl::IsCancelled(quantize("1")));
  EXPECT_FALSE(world_.env->exists("/a/quantize/artifact.json")) << "what was there before is gone";
  world_.sink.on_progress = nullptr;
  world_.cancelled = false;
  ASSERT_EQ(quantize("1"), absl::OkStatus());
  EXPECT_EQ(resumed(), 2) << "a second attempt goes on where the first one stopped";
  expect_whole("order 1");
  ASSERT_EQ(quantize("1"), absl::OkStatus());
  EXPECT_EQ(resumed(), 2) << "committed under this order: nothing to do";
  ASSERT_EQ(quantize("2"), absl::OkStatus());
  EXPECT_EQ(resumed(), 0);
  expect_whole("order 2");
}

TEST_F(FreshOrder, GoesOnWhereAnAttemptWasKilledWhileItEmptied) {
  // What a killed remove_tree leaves: a checkpoint without its bookkeeping, which looks like somebody else's model.
  ASSERT_EQ(world_.env->remove_tree("/a/quantize/checkpoint/.gridquant"), absl::OkStatus());
  ASSERT_EQ(quantize("1"), absl::OkStatus());
  EXPECT_EQ(resumed(), 0);
  expect_whole("without bookkeeping");
}

// And a damaged artifact, which is emptied without an order.
TEST_F(FreshOrder, EmptyingIsRepeatedAfterAnyFault) {
  for (const std::string order : {"1", ""}) {
    bool reached_the_end = false;
    for (int fail_at = 0; !reached_the_end; ++fail_at) {
      ASSERT_LT(fail_at, 1000);
      if (order.empty()) {
        ASSERT_EQ(world_.env->remove_file("/a/quantize/checkpoint/config.json"), absl::OkStatus());
      }
      int count = 0;
      const auto env = base::make_faulty_env(*world_.env, [&](std::string_view operation, const std::string& path) {
        if (operation == "read" || path.rfind(kFolder, 0) != 0) return absl::OkStatus();
        if (count++ < fail_at) return absl::OkStatus();
        if (operation == "remove") world_.env->remove_tree(path + "/.gridquant").IgnoreError();  // and no further
        reached_the_end = reached_the_end || path.find("/checkpoint/") != std::string::npos;
        return absl::UnavailableError(path + ": killed");
      });
      EXPECT_TRUE(absl::IsUnavailable(quantize(order, env.get()))) << fail_at;
      ASSERT_EQ(quantize(order), absl::OkStatus()) << fail_at;
      expect_whole(order + " " + std::to_string(fail_at));
      ASSERT_EQ(quantize("other"), absl::OkStatus());
    }
  }
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
