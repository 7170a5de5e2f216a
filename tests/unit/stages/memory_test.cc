// Memory of quantize as a process: it does not grow with the number of blocks, and the forecast is near it. At a scale
// at which a block that is forgotten somewhere would show. Measured at real scale: bench/memory_14b.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "stages/task.h"
#include "tests/unit/stages/tiny_model.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr int64_t kGrowth = 9 << 20;  // half a byte per weight of the 16 blocks more would be 12 MiB

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "gridquant-memory-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    ASSERT_TRUE(base::write_file_atomically(base::posix_env(), folder_ + "/text", testing::tiny_text(40'000, 1)).ok());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  json run(const std::string& uses, const json& with, const std::string& world) {
    Task task;
    task.run = "test";
    task.stage = task.uses = uses;
    task.with = with;
    task.artifact = folder_ + "/" + world + "/" + uses;
    task.threads = 2;
    for (const char* input : {"analyze", "calibrate", "plan"}) {
      if (uses != input) task.inputs[input] = folder_ + "/" + world + "/" + input;
    }
    const std::string file = folder_ + "/task.json";
    EXPECT_EQ(write_task(base::posix_env(), file, task), absl::OkStatus());
    const pid_t pid = fork();
    if (pid == 0) {
      if (freopen("/dev/null", "w", stdout) == nullptr) _exit(98);
      execl(GRIDQUANT_BIN_DIR "/gridquant-worker", "gridquant-worker", "--task", file.c_str(), nullptr);
      _exit(99);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0) << uses;
    const auto artifact = read_artifact(base::posix_env(), task.artifact);
    EXPECT_TRUE(artifact.ok()) << artifact.status();
    return artifact.ok() ? artifact->summary : json();
  }

  // The summary of quantize.
  json quantize(int64_t blocks, const json& with) {
    testing::TinyOptions options;
    options.hidden = 384;
    options.intermediate = 1024;
    options.blocks = blocks;
    const std::string world = std::to_string(blocks);
    const std::string model = folder_ + "/model" + world;
    testing::write_tiny_model(base::posix_env(), model, options);
    run("analyze", {{"model", model}}, world);
    run("calibrate",
        {{"datasets", {{{"path", folder_ + "/text"}, {"language", "en"}}}},
         {"samples", 8},
         {"sequenceLength", 128},
         {"statistics", "none"}},
        world);
    run("plan", {{"groupSize", 64}}, world);
    json summary = run("quantize", with, world);
    std::filesystem::remove_all(folder_ + "/" + world);
    std::filesystem::remove_all(model);
    return summary;
  }

  std::string folder_;
};

TEST_F(Memory, DoesNotGrowWithTheNumberOfBlocks) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer's own memory is in the way";
#endif
  std::vector<int64_t> peaks;
  for (const int64_t blocks : {8, 24}) {
    const json summary = quantize(blocks, {{"prefetch", false}});
    const auto peak = summary.at("peak_rss_bytes").get<int64_t>();
    const auto forecast = summary.at("memory_forecast_bytes").get<double>();
    EXPECT_GT(forecast, 0.75 * static_cast<double>(peak)) << blocks;
    EXPECT_LT(forecast, 1.25 * static_cast<double>(peak)) << blocks;
    EXPECT_EQ(summary.at("spilled_bytes"), 0);
    peaks.push_back(peak);
  }
  EXPECT_LT(peaks[1], peaks[0] + kGrowth);
}

// Through the file system's scratch file, as a process.
TEST_F(Memory, SpillsBeyondTheBudget) {
  const json summary = quantize(2, {{"hiddenStatesBudget", "1Mi"}});
  // 8 x 128 tokens: hidden states of 384 fp32 do not fit, nor do the inputs of the widest sites.
  EXPECT_GE(summary.at("spilled_bytes").get<int64_t>(), 8 * 128 * 384 * 4);
}

}  // namespace
}  // namespace gridquant::stages
