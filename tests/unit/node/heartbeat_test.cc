// A worker's heartbeat: what counts as a sign of life.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "engine/base/env.h"
#include "engine/base/file_calls.h"
#include "node/worker/json_lines.h"

namespace gridquant::worker {
namespace {

constexpr Heartbeat::Times kTimes = {.beat_ms = 20, .longest_file_call_ms = 400};
constexpr Heartbeat::Times kPatient = {.beat_ms = 20, .longest_file_call_ms = 60'000};

// Lines that are printed while `work` goes on.
template <class Work>
int beats(const Work& work, Heartbeat::Times times = kTimes) {
  testing::internal::CaptureStdout();
  {
    JsonLines lines;
    const std::atomic<int64_t> waits{0};
    const Heartbeat heartbeat(lines, waits, times);
    work();
  }
  const std::string text = testing::internal::GetCapturedStdout();
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

void sleep_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

TEST(HeartbeatTest, WhatDoesNothingShowsNoSign) {
  EXPECT_LE(beats([] { sleep_ms(400); }), 3) << "but for the processor time of its start";
}

TEST(HeartbeatTest, WhatIsInACallIntoTheFilesIsAlive) {
  const auto call = [] {
    const base::FileCall call;
    sleep_ms(1'500);
  };
  EXPECT_GE(beats(call, kPatient), 5) << "of 75 that there is time for: the machine may be busy";
}

TEST(HeartbeatTest, ButNotForEver) {
  const auto waits_for = [](int ms) {
    return beats([ms] {
      const base::FileCall call;
      sleep_ms(ms);
    });
  };
  EXPECT_LE(waits_for(1'600), 400 / 20 + 6) << "it would be 80";
}

TEST(HeartbeatTest, TheSystemsFilesCountTheirCalls) {
  base::Env& env = base::posix_env();
  const std::string path = testing::TempDir() + "heartbeat-" + std::to_string(::getpid());
  const int64_t before = base::file_calls().turns;
  ASSERT_TRUE(base::write_file_atomically(env, path, "text").ok());
  const int64_t written = base::file_calls().turns;
  EXPECT_GE(written - before, 2 * 5) << "append, sync, close, rename, sync of the folder";
  ASSERT_TRUE(base::read_file(env, path).ok());
  EXPECT_GT(base::file_calls().turns, written);
  EXPECT_EQ(base::file_calls().under_way, 0);
  ASSERT_TRUE(env.remove_file(path).ok());
}

}  // namespace
}  // namespace gridquant::worker
