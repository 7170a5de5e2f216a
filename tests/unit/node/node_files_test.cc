// A node's folder, and processes that an earlier agent left behind: with real ones.
#include "node/daemon/node_files.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/launch/launcher.h"
#include "node/launch/marked.h"

namespace gridquant::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class NodeFilesTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_ = testing::TempDir() + "node-files-" + std::to_string(::getpid());
  base::Env& env_ = base::posix_env();
};

TEST_F(NodeFilesTest, OneAgentAtATimeAndEachIsCounted) {
  std::string mark;
  {
    const auto first = NodeFiles::open(env_, folder_);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(first->boot(), 1);
    mark = first->mark(7);
    const auto second = NodeFiles::open(env_, folder_);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("another agent"));
  }
  const auto next = NodeFiles::open(env_, folder_);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->boot(), 2);
  EXPECT_EQ(next->mark(7), mark) << "the name stays, or leftovers would not be known";
}

TEST_F(NodeFilesTest, ADamagedCounterIsNotGuessed) {
  ASSERT_TRUE(NodeFiles::open(env_, folder_).ok());
  ASSERT_TRUE(base::write_file_atomically(env_, folder_ + "/boot", "many").ok());
  EXPECT_EQ(NodeFiles::open(env_, folder_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(NodeFilesTest, MarkedProcessesAreFoundInAnyGroupAndKilledForGood) {
  const auto files = NodeFiles::open(env_, folder_);
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(files->alive(), IsEmpty());
  const auto launcher = make_posix_launcher();
  LaunchSpec spec{.argv = {"/bin/sh", "-c", "setsid sleep 1000 & echo up; exit 3"}, .log_path = folder_ + "/log"};
  spec.mark = files->mark(7);
  spec.env = {"EXTRA=1"};
  ASSERT_TRUE(launcher->start(1, spec).ok());
  EXPECT_THAT(files->alive(), ElementsAre(7));
  bool exited = false;
  for (int i = 0; i < 1'000 && !exited; ++i) {
    for (const ProcessEvent& event : launcher->wait(10, -1)) {
      exited |= event.kind == ProcessEvent::Kind::kExited;
      EXPECT_EQ(event.exit_code, exited ? 3 : 0);
    }
  }
  EXPECT_TRUE(exited) << "what has its own session was killed too";
  EXPECT_THAT(files->alive(), IsEmpty());
  EXPECT_THAT(kill_marked({files->mark(7)}), IsEmpty());
}

TEST_F(NodeFilesTest, AStoppedProcessAndOneWhoseParentDiedAreFound) {
  const auto files = NodeFiles::open(env_, folder_);
  ASSERT_TRUE(files.ok());
  const std::string mark = std::string(kMarkVariable) + "=" + files->mark(9);
  const pid_t child = ::fork();
  if (child == 0) {
    const char* const argv[] = {"/bin/sh", "-c", "kill -STOP $$", nullptr};
    const char* const env[] = {mark.c_str(), nullptr};
    ::execve(argv[0], const_cast<char* const*>(argv), const_cast<char* const*>(env));
    ::_exit(127);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_THAT(files->alive(), ElementsAre(9));
  EXPECT_THAT(kill_marked({files->mark(8), files->mark(9)}), ElementsAre(files->mark(9)));
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_THAT(kill_marked({files->mark(9)}), IsEmpty());
}

}  // namespace
}  // namespace gridquant::node
