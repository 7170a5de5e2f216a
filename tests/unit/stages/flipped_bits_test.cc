// One flipped bit in any file that a stage reads of an earlier stage's artifact: the stage fails with DataLoss, names
// the file and leaves no result. The files are not listed here: they are those that the stage is seen to read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <ostream>
#include <set>
#include <string>

#include "stages/catalog/catalog.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::TinyOptions;
using testing::World;

struct Case {
  std::string name, uses;
  std::map<std::string, json> with;  // of the stages before
  std::set<std::string> must_read;  // some of the files, so that a test that sees nothing read fails
  int64_t experts = 0;
};

World::Run run_of(const Case& of, const std::string& artifact) {
  World::Run run{.uses = of.uses, .artifact = artifact};
  if (of.uses == kPartStage) run.with = {{"part", 1}, {"parts", 1}};
  return run;
}

std::set<std::string> files_read(World& world, World::Run run) {
  std::mutex mutex;
  std::set<std::string> read;
  const auto watching = base::make_faulty_env(*world.env, [&](std::string_view operation, const std::string& path) {
    const std::lock_guard lock(mutex);
    if (operation == "read" && path.starts_with("/a/") && !path.ends_with("/artifact.json")) read.insert(path);
    return absl::OkStatus();
  });
  run.env = watching.get();
  EXPECT_EQ(world.run(run), absl::OkStatus());
  return read;
}

void PrintTo(const Case& of, std::ostream* out) {
  *out << of.name;
}

class FlippedBit : public ::testing::TestWithParam<Case> {};

TEST_P(FlippedBit, IsNoticed) {
  const Case& of = GetParam();
  TinyOptions options;
  options.experts = of.experts;
  if (of.experts > 0) options.blocks = 2;
  World world(options);
  ASSERT_EQ(world.run_until("quantize", of.with), absl::OkStatus());
  const std::set<std::string> read = files_read(world, run_of(of, "/whole"));
  for (const std::string& file : of.must_read) EXPECT_TRUE(read.contains(file)) << file;
  for (const std::string& file : read) {
    const std::string good = base::read_file(*world.env, file).value();
    std::string bad = good;
    bad[good.size() / 2] = static_cast<char>(bad[good.size() / 2] ^ 4);
    ASSERT_EQ(base::write_file_atomically(*world.env, file, bad), absl::OkStatus());
    const Status status = world.run(run_of(of, "/damaged"));
    EXPECT_TRUE(absl::IsDataLoss(status)) << file << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(file));
    EXPECT_FALSE(world.files("/damaged").contains("artifact.json")) << file;
    ASSERT_EQ(world.env->remove_tree("/damaged"), absl::OkStatus());
    ASSERT_EQ(base::write_file_atomically(*world.env, file, good), absl::OkStatus());
  }
}

const char* const kAnalysis = "/a/analyze/analysis.json";
const char* const kStatistics = "/a/calibrate/statistics.safetensors";
const char* const kHessians = "/a/calibrate/hessians/block-00001.safetensors";
const char* const kShard = "/a/quantize/checkpoint/model-00001-of-00004.safetensors";
const std::map<std::string, json> kHessian = {{"calibrate", {{"statistics", "hessian"}}}};
const std::map<std::string, json> kFewHessians = {{"calibrate", {{"statistics", "hessian"}, {"samples", 2}}}};

INSTANTIATE_TEST_SUITE_P(
    Stages, FlippedBit,
    ::testing::Values(
        Case{"calibrate", "calibrate", {}, {kAnalysis}},
        Case{"plan", "plan", {}, {kAnalysis, "/a/calibrate/tokens.bin", "/a/calibrate/tokens.json"}},
        Case{"gptq", "quantize", {}, {kAnalysis, "/a/plan/plan.json", "/a/calibrate/tokens.bin"}},
        Case{"rtn", "quantize", {{"plan", {{"solver", "rtn"}}}}, {kStatistics, "/a/calibrate/statistics.json"}},
        Case{"part", kPartStage, kHessian, {"/a/calibrate/hessians.json", kHessians}},
        Case{"experts", kPartStage, kFewHessians, {kStatistics, kHessians}, 4},
        Case{"validate", "validate", {}, {"/a/quantize/checkpoint/config.json", kShard}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gridquant::stages
