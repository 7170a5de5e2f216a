// Nothing is lost and nothing partial looks complete: a fault at every single operation of the folder writer, alone,
// with all that follow, while another folder is being replaced, during the recovery, and with the power cut.
#include "tests/unit/formats/power_cut_env.h"
#include "tests/unit/formats/writer_testing.h"

namespace gridquant::formats {
namespace {

std::map<std::string, std::string> undisturbed() {
  const auto env = base::make_memory_env();
  make_source(*env);
  EXPECT_TRUE(run(*env).ok());
  return snapshot(*env, "out");
}

bool is_mutation(std::string_view operation) {
  return operation != "read";
}

// An index implies that everything is there, at any moment.
void expect_honest(base::Env& env, const std::map<std::string, std::string>& whole, int failing) {
  if (!env.exists(kIndex)) return;
  for (const auto& [path, content] : whole) EXPECT_EQ(get(env, path), content) << "after fault " << failing;
}

// Fails the k-th mutating operation, for every k: alone (a full disk), or with all that follow (a kill -9).
TEST(CheckpointCrash, SurvivesAFaultAtEveryOperation) {
  const auto whole = undisturbed();
  for (const bool crash : {false, true}) {
    int failing = 0;
    for (bool done = false; !done; ++failing) {
      const auto memory = base::make_memory_env();
      make_source(*memory);
      int count = 0;
      const auto env = base::make_faulty_env(*memory, [&](std::string_view operation, const std::string&) {
        if (!is_mutation(operation)) return absl::OkStatus();
        const int number = count++;
        return number == failing || (crash && number > failing) ? absl::ResourceExhaustedError("full")
                                                                : absl::OkStatus();
      });
      const Status status = run(*env);
      done = count <= failing;
      EXPECT_EQ(status.ok(), done) << failing;
      EXPECT_TRUE(done || absl::IsResourceExhausted(status)) << status;
      expect_honest(*memory, whole, failing);
      ASSERT_TRUE(run(*memory).ok()) << failing;
      ASSERT_EQ(difference(snapshot(*memory, "out"), whole), "") << "after fault " << failing;
    }
    EXPECT_GT(failing, 60);
  }
}

// The same while a finished folder of another key is being replaced, and with a second fault during the recovery.
TEST(CheckpointCrash, SurvivesFaultsWhileReplacingAndRecovering) {
  const auto whole = undisturbed();
  int failing = 0;
  for (bool done = false; !done; ++failing) {
    const auto memory = base::make_memory_env();
    make_source(*memory);
    CheckpointWriterOptions before = options("before");
    before.shard_count = 2;
    ASSERT_TRUE(run(*memory, before).ok());
    const auto old_whole = snapshot(*memory, "out");
    for (int round = 0; round < 2; ++round) {  // the second fault comes as far into the recovery
      int count = 0;
      const auto env = base::make_faulty_env(*memory, [&](std::string_view operation, const std::string&) {
        return is_mutation(operation) && count++ >= failing ? absl::UnavailableError("gone") : absl::OkStatus();
      });
      const Status status = run(*env);
      done = done || status.ok();
      if (!memory->exists(kIndex)) continue;
      const auto now = snapshot(*memory, "out");
      EXPECT_TRUE(now == whole || now == old_whole) << "a partial folder looks complete after fault " << failing;
    }
    ASSERT_TRUE(run(*memory).ok()) << failing;
    ASSERT_EQ(difference(snapshot(*memory, "out"), whole), "") << "after fault " << failing;
  }
  EXPECT_GT(failing, 30);
}

// The power is cut before the k-th operation, for every k and several ways the disk may have kept its promises; the
// recovery's power is cut too.
TEST(CheckpointCrash, SurvivesAPowerCutAtEveryOperation) {
  const auto whole = undisturbed();
  int failing = 0;
  for (bool done = false; !done; ++failing) {
    for (uint32_t seed = 0; seed < 24; ++seed) {
      PowerCutEnv disk;
      make_source(disk);
      CheckpointWriterOptions how = options();
      how.verify_digests = seed % 3 == 0;  // sizes alone must do: only a bad disk makes digests necessary
      if (seed % 2 == 1) {
        ASSERT_TRUE(run(disk, options("before")).ok());
      }
      const auto old_whole = snapshot(disk, "out");
      for (int round = 0; round < 2; ++round) {
        int count = 0;
        const auto env = base::make_faulty_env(disk, [&](std::string_view operation, const std::string&) {
          return is_mutation(operation) && count++ >= failing ? absl::UnavailableError("dark") : absl::OkStatus();
        });
        const Status status = run(*env, how);
        done = done || (round == 0 && status.ok());
        disk.cut_power(seed * 1000 + static_cast<uint32_t>(failing));
        const auto now = snapshot(disk, "out");
        const bool complete = now == whole || (seed % 2 == 1 && now == old_whole);
        EXPECT_TRUE(complete || !disk.exists(kIndex)) << "partial, but looks complete after fault " << failing;
        EXPECT_TRUE(!status.ok() || now == whole) << "a finished run lost something to a later power cut";
      }
      ASSERT_TRUE(run(disk, how).ok()) << failing;
      ASSERT_EQ(difference(snapshot(disk, "out"), whole), "") << "after fault " << failing << ", seed " << seed;
    }
  }
  EXPECT_GT(failing, 60);
}

}  // namespace
}  // namespace gridquant::formats
