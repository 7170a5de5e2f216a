// The checks can fail: with a bug planted, some of the seeds must break the invariant that it is about.
#include <gtest/gtest.h>

#include "tests/sim/swarm.h"

namespace gridquant::sim {
namespace {

// The rules that the first 300 seeds break, with how many of them do.
std::map<std::string, int> broken(Bugs bugs) {
  std::map<std::string, int> rules;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Cluster cluster(seed, swarm(seed), bugs);
    try {
      cluster.run();
    } catch (const Violation& violation) {
      ++rules[violation.rule()];
    }
  }
  return rules;
}

TEST(PlantedTest, NoBugNoViolation) {
  EXPECT_TRUE(broken({}).empty());
}

TEST(PlantedTest, WithoutTheFenceAZombiesResultCounts) {
  EXPECT_GT(broken({.no_fence = true})["4"], 0);
}

TEST(PlantedTest, ASuccessCommittedTwice) {
  const auto rules = broken({.double_commit = true});
  EXPECT_EQ(rules.size(), 1u);
  EXPECT_GT(rules.at("5"), 100) << "the second record does not follow the first";
}

TEST(PlantedTest, ActingBeforeTheRecordsAreDurable) {
  EXPECT_GT(broken({.act_first = true})["7"], 100);
}

TEST(PlantedTest, ASlotFreedBeforeItsProcessIsGone) {
  EXPECT_GT(broken({.early_free = true})["2"], 0);
}

TEST(PlantedTest, ARecordThatTheDiskLost) {
  EXPECT_GT(broken({.lose_record = true})["5"], 0);
}

// The bounds of liveness are seen too: a worker that never ends keeps its run from ending.
TEST(PlantedTest, ARunThatNeverEnds) {
  Cluster cluster(1, {});
  cluster.manual_workers = true;
  cluster.start_coordinator();
  cluster.add_node(4, 0);
  sched::RunSubmitted run = cluster.plain_run("r1", "a");
  run.pipeline.stages[0].timeout_ms = 0;
  cluster.submit(run);
  try {
    cluster.expect_end(30'000);
    FAIL() << "nothing was seen";
  } catch (const Violation& violation) {
    EXPECT_EQ(violation.rule(), "liveness");
  }
}

}  // namespace
}  // namespace gridquant::sim
