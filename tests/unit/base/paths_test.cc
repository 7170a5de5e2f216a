// Path arithmetic, and the log's and clocks' few promises.
#include <gtest/gtest.h>

#include "engine/base/clock.h"
#include "engine/base/env.h"
#include "engine/base/log.h"

namespace gridquant::base {
namespace {

TEST(Paths, Join) {
  EXPECT_EQ(join_path("a/b", "c"), "a/b/c");
  EXPECT_EQ(join_path("a/b/", "c"), "a/b/c");
  EXPECT_EQ(join_path("/", "c"), "/c");
  EXPECT_EQ(join_path("", "c"), "c");
  EXPECT_EQ(join_path("a", ""), "a");
  EXPECT_EQ(join_path("a/b", "/c"), "/c");
}

TEST(Paths, TakeApart) {
  EXPECT_EQ(folder_of("a/b/c"), "a/b");
  EXPECT_EQ(folder_of("a/b/"), "a");
  EXPECT_EQ(folder_of("a"), ".");
  EXPECT_EQ(folder_of(""), ".");
  EXPECT_EQ(folder_of("/a"), "/");
  EXPECT_EQ(folder_of("/"), "/");
  EXPECT_EQ(file_name_of("a/b/c.txt"), "c.txt");
  EXPECT_EQ(file_name_of("a/b/"), "b");
  EXPECT_EQ(file_name_of("c.txt"), "c.txt");
}

TEST(Log, LinesAtOrAboveTheLevelGoToStandardError) {
  set_log_level(LogLevel::kWarning);
  ::testing::internal::CaptureStderr();
  log(LogLevel::kInfo, "not this");
  log(LogLevel::kError, "but this: {} %s");
  set_log_level(LogLevel::kInfo);
  const std::string lines = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(lines.find("not this"), std::string::npos);
  EXPECT_NE(lines.find("error: but this: {} %s\n"), std::string::npos) << lines;
}

TEST(Clock, ManualOneMovesOnlyWhenTold) {
  ManualClock clock;
  EXPECT_EQ(clock.monotonic_ms(), 0);
  clock.advance_ms(250);
  EXPECT_EQ(clock.monotonic_ms(), 250);
  EXPECT_EQ(clock.wall_ms(), 250);
}

TEST(Clock, SystemOneKnowsTheYear) {
  EXPECT_GT(system_clock().wall_ms(), int64_t{1'700'000'000'000});
  const int64_t before = system_clock().monotonic_ms();
  EXPECT_GE(system_clock().monotonic_ms(), before);
}

}  // namespace
}  // namespace gridquant::base
