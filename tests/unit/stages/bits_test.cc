// How a stage works does not show in what it leaves: the same bytes for any number of threads, with and without reading
// ahead, with activations in memory and in scratch files; dense and mixture, GPTQ and rounding.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;
using testing::TinyOptions;
using testing::World;

struct Case {
  std::string name;
  int64_t experts;
  std::string solver;
};

struct Setting {
  int threads;
  bool prefetch;
  const char* budget;
};
constexpr Setting kSettings[] = {{1, false, "4Gi"}, {1, true, "1"},    {2, false, "1"},
                                 {2, true, "4Gi"},  {4, false, "4Gi"}, {4, true, "1"}};

std::map<std::string, std::string> results(World& world, const std::string& folder) {
  auto files = world.files(folder);
  files.erase("artifact.json");  // its summary names threads, seconds and memory
  return files;
}

class SameBits : public ::testing::TestWithParam<Case> {};

TEST_P(SameBits, ThreadsPrefetchAndSpillDoNotShow) {
  TinyOptions options;
  options.blocks = 2;
  options.experts = GetParam().experts;
  if (options.experts > 0) options.intermediate = 64;
  World world(options);
  const std::map<std::string, json> with = {{"plan", {{"solver", GetParam().solver}}}};
  ASSERT_EQ(world.run_until("validate", with), absl::OkStatus());
  for (const char* uses : {"calibrate", "quantize", "validate"}) {
    const auto expected = results(world, std::string("/a/") + uses);
    ASSERT_FALSE(expected.empty());
    int number = 0;
    for (const Setting& s : kSettings) {
      const std::string folder = std::string("/other/") + uses + std::to_string(number++);
      const json how = {{"prefetch", s.prefetch}, {"hiddenStatesBudget", s.budget}};
      ASSERT_EQ(world.run({.uses = uses, .with = how, .artifact = folder, .threads = s.threads}), absl::OkStatus());
      const auto found = results(world, folder);
      ASSERT_EQ(found.size(), expected.size());
      for (const auto& [file, content] : expected) {
        EXPECT_TRUE(found.contains(file) && found.at(file) == content)
            << uses << ", " << file << ": " << s.threads << " threads, prefetch " << s.prefetch << ", " << s.budget;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SameBits,
                         ::testing::Values(Case{"dense_gptq", 0, "gptq"}, Case{"dense_rtn", 0, "rtn"},
                                           Case{"mixture_gptq", 4, "gptq"}, Case{"mixture_rtn", 4, "rtn"}),
                         [](const auto& info) { return info.param.name; });

// Where the disk has no room for what lies beyond the budget: an error that says so, and nothing left behind.
TEST(Spill, NoRoomIsAnError) {
  World world;
  ASSERT_EQ(world.run_until("plan"), absl::OkStatus());
  const auto full = base::make_faulty_env(*world.env, [](std::string_view operation, const std::string& path) {
    return operation == "create" && path.ends_with(".scratch.tmp")
               ? absl::ResourceExhaustedError("no space left: " + path)
               : absl::OkStatus();
  });
  for (const char* uses : {"calibrate", "quantize"}) {
    const std::string folder = std::string("/full/") + uses;
    const json tight = {{"hiddenStatesBudget", 1000}};
    const Status status = world.run({.uses = uses, .with = tight, .artifact = folder, .env = full.get()});
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_NE(status.message().find("hiddenStatesBudget"), std::string_view::npos) << status;
    for (const auto& [name, content] : world.files(folder)) EXPECT_FALSE(name.ends_with(".tmp")) << name;
    EXPECT_FALSE(world.files(folder).contains("artifact.json"));
    ASSERT_EQ(world.run({.uses = uses, .with = tight, .artifact = folder}), absl::OkStatus()) << "with room it goes on";
  }
}

TEST(Spill, BudgetMustBeASize) {
  World world;
  ASSERT_EQ(world.run_until("plan"), absl::OkStatus());
  for (const json& bad : {json("2Gb"), json("-1"), json(""), json(true), json("9999999999Ti")}) {
    const Status status = world.run({.uses = "quantize", .with = {{"hiddenStatesBudget", bad}}, .artifact = "/bad"});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(status.message().find("a size such as 2Gi"), std::string_view::npos) << status;
  }
}

}  // namespace
}  // namespace gridquant::stages
