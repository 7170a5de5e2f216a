// The launcher with real /bin/sh processes, and its body in memory.
#include "node/launch/launcher.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/launch/memory_launcher.h"

namespace gridquant::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kMaxWaits = 3'000;  // of 10 ms: a hanging test fails instead of hanging

class LauncherTest : public testing::Test {
 protected:
  void SetUp() override {
    log_ = testing::TempDir() + "launch-" + std::to_string(::getpid()) + "-" +
           testing::UnitTest::GetInstance()->current_test_info()->name() + ".log";
    std::filesystem::remove(log_);
  }
  void TearDown() override { std::filesystem::remove(log_); }

  StatusOr<int64_t> start(uint64_t id, const std::string& script) {
    return launcher_->start(id, {{"/bin/sh", "-c", script}, log_, {}});
  }

  // Waits until `id` prints a line that says `line`; with "" until it has exited.
  bool wait_for(uint64_t id, const std::string& line = "") {
    for (int i = 0; i < kMaxWaits; ++i) {
      for (const ProcessEvent& event : launcher_->wait(10, -1)) {
        if (event.id != id) continue;
        if (event.kind == ProcessEvent::Kind::kExited) {
          exit_code_ = event.exit_code;
          return line.empty();
        }
        lines_.push_back(event.line);
        if (!line.empty() && event.line == line) return true;
      }
    }
    return false;
  }

  std::string log() const {
    std::ifstream file(log_);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  static bool is_alive(pid_t pid) {  // a zombie is not
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    if (!std::getline(stat, text)) return false;
    return text.substr(text.rfind(')') + 2, 1) != "Z";
  }

  std::unique_ptr<Launcher> launcher_ = make_posix_launcher();
  std::string log_;
  std::vector<std::string> lines_;
  int exit_code_ = -1;
};

TEST_F(LauncherTest, LinesErrorsNotesAndExitCode) {
  ASSERT_TRUE(start(1, "echo one; echo two; echo oops >&2; printf three; read x || echo ' no input'; exit 10").ok());
  launcher_->write_log(1, "note: hello");
  ASSERT_TRUE(wait_for(1));
  EXPECT_EQ(exit_code_, 10);
  EXPECT_THAT(lines_, ElementsAre("one", "two", "three no input"));
  EXPECT_THAT(log(), HasSubstr("oops\n"));
  EXPECT_THAT(log(), HasSubstr("note: hello\n"));
}

TEST_F(LauncherTest, TheLastLinesOfAProcessCanStillBeLogged) {
  ASSERT_TRUE(start(1, "echo last").ok());
  ASSERT_TRUE(wait_for(1));
  launcher_->write_log(1, "error: last");
  EXPECT_EQ(log(), "error: last\n");
  launcher_->wait(0, -1);
  launcher_->write_log(1, "too late");
  EXPECT_EQ(log(), "error: last\n");
}

TEST_F(LauncherTest, ASignalShowsAs128PlusItsNumber) {
  ASSERT_TRUE(start(1, "kill -9 $$").ok());
  ASSERT_TRUE(wait_for(1));
  EXPECT_EQ(exit_code_, 137);
}

TEST_F(LauncherTest, WhatCannotStartSaysWhy) {
  const auto started = launcher_->start(1, {{"/no/such/program"}, log_, {}});
  ASSERT_EQ(started.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(started.status().message()), HasSubstr("/no/such/program: No such file"));
  EXPECT_FALSE(launcher_->start(2, {{"/bin/true"}, "/no/such/folder/log", {}}).ok());
}

TEST_F(LauncherTest, TermCanBeHandledAndKillCannot) {
  ASSERT_TRUE(start(1, "trap 'echo bye; exit 130' TERM; echo up; while :; do sleep 0.01; done").ok());
  ASSERT_TRUE(wait_for(1, "up"));
  launcher_->signal(1, Signal::kTerminate);
  ASSERT_TRUE(wait_for(1));
  EXPECT_EQ(exit_code_, 130);
  EXPECT_EQ(lines_.back(), "bye");
  ASSERT_TRUE(start(2, "trap '' TERM; echo up; while :; do sleep 0.01; done").ok());
  ASSERT_TRUE(wait_for(2, "up"));
  launcher_->signal(2, Signal::kTerminate);
  launcher_->signal(2, Signal::kKill);
  ASSERT_TRUE(wait_for(2));
  EXPECT_EQ(exit_code_, 137);
}

TEST_F(LauncherTest, ExitMeansTheWholeGroupIsGone) {
  ASSERT_TRUE(start(1, "sleep 1000 & echo $!; exit 3").ok());
  ASSERT_TRUE(wait_for(1));
  EXPECT_EQ(exit_code_, 3);
  ASSERT_FALSE(lines_.empty());
  EXPECT_FALSE(is_alive(std::stoi(lines_[0])));
}

TEST_F(LauncherTest, ProcessesDieWithTheirLauncher) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const pid_t middle = ::fork();
  if (middle == 0) {  // a gridquant that is killed with kill -9
    const auto launcher = make_posix_launcher();
    const auto pid = launcher->start(1, {{"/bin/sh", "-c", "echo up; exec sleep 1000"}, log_, {}});
    bool up = false;
    while (!up) {
      for (const ProcessEvent& event : launcher->wait(10, -1)) up |= event.line == "up";
    }
    const int64_t value = pid.ok() ? *pid : -1;
    [[maybe_unused]] const ssize_t written = ::write(fds[1], &value, sizeof(value));
    ::kill(::getpid(), SIGKILL);
  }
  int64_t worker = -1;
  ASSERT_EQ(::read(fds[0], &worker, sizeof(worker)), static_cast<ssize_t>(sizeof(worker)));
  ASSERT_EQ(::waitpid(middle, nullptr, 0), middle);
  ASSERT_GT(worker, 0);
  bool alive = true;
  for (int i = 0; i < kMaxWaits && alive; ++i) {
    alive = is_alive(static_cast<pid_t>(worker));
    if (alive) ::usleep(10'000);
  }
  EXPECT_FALSE(alive);
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST_F(LauncherTest, AFloodIsCutAndOthersGetTheirTurn) {
  ASSERT_TRUE(start(1, "yes").ok());
  ASSERT_TRUE(start(2, "head -c 200000 /dev/zero | tr '\\0' x; echo; echo end").ok());
  ASSERT_TRUE(wait_for(2, "end"));
  ASSERT_EQ(lines_.size(), 2u);
  EXPECT_EQ(lines_[0].size(), 64u * 1024u);
  launcher_->signal(1, Signal::kKill);
  ASSERT_TRUE(wait_for(1));
}

TEST_F(LauncherTest, OnlyKeptDescriptorsAreInherited) {
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  const std::string script = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done";
  const int kept = ::fcntl(fds[0], F_DUPFD_CLOEXEC, 100);
  ASSERT_TRUE(launcher_->start(1, {{"/bin/sh", "-c", script}, log_, {kept}}).ok());
  ASSERT_TRUE(wait_for(1));
  EXPECT_THAT(lines_, testing::Contains(std::to_string(kept)));
  EXPECT_THAT(lines_, testing::Not(testing::Contains(std::to_string(fds[1]))));
  for (const int fd : {fds[0], fds[1], kept}) ::close(fd);
}

TEST(MemoryLauncherTest, DoesWhatItIsTold) {
  MemoryLauncher launcher;
  launcher.fail_next_start(absl::UnavailableError("no"));
  EXPECT_FALSE(launcher.start(1, {}).ok());
  ASSERT_TRUE(launcher.start(2, {}).ok());
  launcher.signal(2, Signal::kTerminate);
  launcher.print(2, "hello");
  launcher.exit(2, 7);
  launcher.print(2, "too late");
  const auto events = launcher.wait(0, -1);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].line, "hello");
  EXPECT_EQ(events[1].exit_code, 7);
  EXPECT_EQ(launcher.signals().size(), 1u);
}

}  // namespace
}  // namespace gridquant::node
