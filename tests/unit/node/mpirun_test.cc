// Command lines and exit codes of gangs; how a worker sees that it is one of several ranks.
#include "node/launch/mpirun.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/base/status.h"
#include "node/worker/ranks.h"

namespace gridquant {
namespace {

using ::testing::HasSubstr;

TEST(Mpirun, OneRankNeedsNone) {
  EXPECT_EQ(node::local_command({"", 1, {"/w", "--task", "t"}}), (std::vector<std::string>{"/w", "--task", "t"}));
}

TEST(Mpirun, EndsWithRanksAndWorker) {
  const std::vector<std::string> command = node::local_command({"/usr/bin/mpirun", 3, {"/w", "--task", "t"}});
  EXPECT_EQ(command.front(), "/usr/bin/mpirun");
  const std::vector<std::string> end(command.end() - 5, command.end());
  EXPECT_EQ(end, (std::vector<std::string>{"-np", "3", "/w", "--task", "t"}));
}

TEST(Mpirun, CodesKeepTheirClassAndItsOwnAreRetried) {
  for (const int code : {0, 10, 11, 12, 13, 14, 15, 130, 131, 132, 133, 137, 139}) {
    EXPECT_EQ(node::gang_exit_code(code), code);
  }
  for (const int own : {1, 2, 65, 127, 205, 213, 255}) {
    EXPECT_EQ(failure_class_for(node::gang_exit_code(own)), FailureClass::kInfrastructure) << own;
  }
}

TEST(FindProgram, LooksAlongThePath) {
  EXPECT_EQ(node::find_program("sh", "/nowhere:/bin"), "/bin/sh");
  EXPECT_EQ(node::find_program("sh", "/nowhere:"), "") << "not in the working folder";
  EXPECT_EQ(node::find_program("sh", ""), "");
}

StatusOr<bool> wants(worker::MpiMode mode, const std::map<std::string, std::string>& environment) {
  return worker::wants_mpi(mode, [&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(WantsMpi, WhereALauncherOfMpiProgramsStartedUs) {
  using worker::MpiMode;
  EXPECT_FALSE(*wants(MpiMode::kAuto, {}));
  EXPECT_TRUE(*wants(MpiMode::kAuto, {{"OMPI_COMM_WORLD_SIZE", "2"}}));
  EXPECT_TRUE(*wants(MpiMode::kAuto, {{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}}));
  EXPECT_FALSE(*wants(MpiMode::kAuto, {{"SLURM_JOB_ID", "7"}, {"SLURM_STEP_NUM_TASKS", "1"}})) << "a batch script";
  EXPECT_FALSE(*wants(MpiMode::kOff, {{"OMPI_COMM_WORLD_SIZE", "2"}}));
  EXPECT_TRUE(*wants(MpiMode::kOn, {}));
  const auto lost = wants(MpiMode::kAuto, {{"SLURM_STEP_NUM_TASKS", "4"}});
  EXPECT_TRUE(absl::IsFailedPrecondition(lost.status()));
  EXPECT_THAT(std::string(lost.status().message()), HasSubstr("--mpi=pmix"));
}

TEST(ThreadsOfRank, SharesTheCores) {
  EXPECT_EQ(worker::threads_of_rank(0, 8, 3), 2);
  EXPECT_EQ(worker::threads_of_rank(0, 2, 4), 1);
  EXPECT_EQ(worker::threads_of_rank(5, 2, 4), 5);
}

}  // namespace
}  // namespace gridquant
