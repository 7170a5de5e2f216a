// The scheduler with many nodes, one story per test: gangs, queues, order, leases, drains, batches, requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/sched/lab.h"

namespace gridquant::sched {
namespace {

using testing::HasSubstr;

constexpr int kIo = static_cast<int>(ExitCode::kIo);

spec::StagePlan sized(const std::string& name, int cores, int ranks = 1, int min_ranks = 0, int gpus = 0) {
  spec::StagePlan plan = stage(name);
  plan.cores = cores;
  plan.gang_ranks = ranks;
  plan.gang_min_ranks = min_ranks == 0 ? ranks : min_ranks;
  plan.gpus_per_rank = gpus;
  return plan;
}

Inventory machine(int cores, int gpus = 0, std::map<std::string, std::string> labels = {}) {
  return {.cores = cores, .memory_bytes = int64_t{64} << 30, .gpus = gpus, .labels = std::move(labels)};
}

TEST(ClusterTest, AGangTakesAllItsRanksOrNothing) {
  Lab lab;
  lab.add_node("n1", machine(4, 2));
  lab.submit("r", {sized("g", 1, 4, 0, 1)});
  EXPECT_EQ(lab.state("r", "g"), "ready");
  EXPECT_THAT(lab.why("r", "g"), HasSubstr("needs 4 ranks of 1 core, 1 GPU; free is room for 2 ranks on 1 node"));
  EXPECT_THAT(lab.why("r", "g"), HasSubstr("even when idle they hold only 2"));
  lab.add_node("n2", machine(4, 2));
  ASSERT_EQ(lab.state("r", "g"), "running");
  const Lease& lease = lab.scheduler.state().leases.begin()->second;
  ASSERT_EQ(lease.members.size(), 2u);
  EXPECT_EQ(lease.members[0].ranks + lease.members[1].ranks, 4);
  EXPECT_EQ(lease.members[0].gpus, 3u);
  EXPECT_NE(lab.at("r", "g").attempts[0].started_ms, 0) << "both members run";
  EXPECT_EQ(lab.at("r", "g").attempts[0].pid, 77) << "the head's, whoever was the last to start";
  EXPECT_THAT(lab.why("r", "g"), HasSubstr("runs as attempt 1 with 4 ranks on n1, n2"));
  lab.end("r", "g");
  EXPECT_EQ(lab.state("r"), "succeeded");
  EXPECT_TRUE(lab.scheduler.state().leases.empty()) << "every slot is free";
}

TEST(ClusterTest, TheHeadStartsWhenAllOthersKnowOfTheLease) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.add_node("n2", machine(4));
  lab.silent = {"n2"};  // for a moment: what it is told is lost
  lab.submit("r", {sized("g", 1, 8)});
  ASSERT_EQ(lab.state("r", "g"), "running");
  ASSERT_EQ(lab.scheduler.state().leases.begin()->second.members[0].node, "n1");
  lab.pass(5'000);
  EXPECT_TRUE(lab.launched.empty()) << "its mpirun would be refused on n2";
  lab.silent.clear();
  lab.pass(1'000);
  EXPECT_EQ(lab.launched.size(), 1u);
  EXPECT_NE(lab.at("r", "g").attempts[0].started_ms, 0);
  lab.end("r", "g");
  EXPECT_EQ(lab.state("r"), "succeeded");
  EXPECT_EQ(lab.at("r", "g").attempts.size(), 1u);
}

TEST(ClusterTest, AGangWhoseMembersNeverAnswerIsStoppedLikeAnyOther) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.add_node("n2", machine(4));
  lab.silent = {"n2"};
  lab.submit("r", {sized("g", 1, 8)});
  lab.step(CancelRequested{.run = "r", .reason = "by hand"});
  lab.pass(1'000);
  EXPECT_EQ(lab.state("r"), "cancelled");
  EXPECT_TRUE(lab.launched.empty());
  lab.silent.clear();
  lab.pass(2'000);
  EXPECT_TRUE(lab.scheduler.state().leases.empty()) << "every slot is free";
}

TEST(ClusterTest, AGangShrinksToWhatIsLeftAfterItsPatience) {
  Lab lab;
  lab.add_node("n1", machine(4, 2));
  lab.add_node("n2", machine(4, 2));
  lab.submit("r", {sized("g", 1, 4, 1, 1)});
  ASSERT_EQ(lab.at("r", "g").attempts.back().ranks, 4);
  lab.silent = {"n2"};
  lab.pass(11'000);
  EXPECT_FALSE(lab.scheduler.state().nodes.at("n2").alive);
  EXPECT_EQ(lab.at("r", "g").node_losses, 1);
  EXPECT_EQ(lab.at("r", "g").infrastructure_failures, 0);
  lab.pass(31'000);
  ASSERT_EQ(lab.state("r", "g"), "running");
  EXPECT_EQ(lab.at("r", "g").attempts.back().ranks, 2);
  lab.silent.clear();
  lab.pass(2'000);
  EXPECT_EQ(lab.scheduler.state().leases.size(), 1u) << "what the lost node held is free when it is back and clean";
  lab.end("r", "g");
  EXPECT_EQ(lab.state("r"), "succeeded");
}

TEST(ClusterTest, ADamagedInputIsMadeAgainWhateverItsStageIsCalled) {
  Lab lab;
  lab.add_node("n1", machine(4));
  spec::StagePlan reader = sized("reader", 1);
  reader.needs = {"twin-ko", "twin-en"};
  reader.inputs = {{"calibrate", "twin-ko"}, {"quantize-part.00001", "twin-en"}};
  lab.submit("r", {sized("twin-ko", 1), sized("twin-en", 1), reader});
  lab.end("r", "twin-ko");
  lab.end("r", "twin-en");
  ASSERT_EQ(lab.state("r", "reader"), "running");
  const uint64_t epoch = lab.at("r", "reader").attempts.back().epoch;
  lab.agent_step("n1", node::WorkerResult{.epoch = epoch, .corrupt_inputs = {"calibrate"}});
  lab.end("r", "reader", static_cast<int>(ExitCode::kCorruption));
  EXPECT_EQ(lab.state("r", "twin-ko"), "running") << "the worker knows it as its calibrate";
  EXPECT_EQ(lab.state("r", "twin-en"), "succeeded");
  EXPECT_EQ(lab.state("r", "reader"), "pending");
  lab.end("r", "twin-ko");
  lab.end("r", "reader");
  EXPECT_EQ(lab.state("r"), "succeeded");
}

TEST(ClusterTest, LabelsDecideWhere) {
  Lab lab;
  lab.add_node("n1", machine(4));
  spec::StagePlan plan = sized("a", 1);
  plan.node_selector = {{"zone", "b"}};
  lab.submit("r", {plan});
  EXPECT_EQ(lab.state("r", "a"), "ready");
  EXPECT_THAT(lab.why("r", "a"), HasSubstr("zone=b; free is room for 0 ranks on 0 nodes"));
  lab.add_node("n2", machine(4, 0, {{"zone", "b"}}));
  EXPECT_EQ(lab.at("r", "a").attempts.back().node, "n2");
}

TEST(ClusterTest, PriorityStandsAheadUntilWaitingMakesUpForIt) {
  Lab lab({.timing = {.aging_ms = 10'000}});
  lab.add_node("n1", machine(1));
  lab.submit("busy", {sized("a", 1)});
  lab.submit("low", {sized("a", 1)});
  lab.pass(2'000);
  lab.submit("high", {sized("a", 1)}, "default", 1);
  EXPECT_THAT(lab.why("low", "a"), HasSubstr("1 stage is ahead, first 'a' of run high"));
  lab.end("busy", "a");
  EXPECT_EQ(lab.state("high", "a"), "running");
  lab.pass(9'000);
  lab.submit("higher", {sized("a", 1)}, "default", 1);
  lab.end("high", "a");
  EXPECT_EQ(lab.state("low", "a"), "running") << "it has waited more than aging_ms longer";
}

TEST(ClusterTest, SmallOnesSkipAheadUntilTheLargeOneReserves) {
  Lab lab({.reserve_after_ms = 5'000});
  lab.add_node("n1", machine(4));
  lab.submit("s1", {sized("a", 2)});
  lab.submit("large", {sized("a", 4)});
  lab.submit("s2", {sized("a", 2)});
  EXPECT_EQ(lab.state("large", "a"), "ready");
  EXPECT_EQ(lab.state("s2", "a"), "running") << "skips ahead";
  lab.pass(6'000);
  lab.submit("s3", {sized("a", 2)});
  lab.end("s1", "a");
  EXPECT_EQ(lab.state("s3", "a"), "ready") << "the node is kept for the large one";
  lab.end("s2", "a");
  EXPECT_EQ(lab.state("large", "a"), "running");
  lab.end("large", "a");
  EXPECT_EQ(lab.state("s3", "a"), "running");
}

TEST(ClusterTest, AQueueKeepsToItsQuota) {
  Lab lab;
  lab.add_node("n1", machine(8));
  lab.step(QueueRequested{"team", {.cores = 4, .gpus = 0, .memory_bytes = 0}});
  lab.submit("r1", {sized("a", 3)}, "team");
  lab.submit("r2", {sized("a", 3)}, "team");
  lab.submit("r3", {sized("a", 3)});
  EXPECT_EQ(lab.state("r2", "a"), "ready");
  EXPECT_EQ(lab.state("r3", "a"), "running") << "of another queue";
  EXPECT_THAT(lab.why("r2", "a"), HasSubstr("asks for 3 cores of queue 'team', which uses 3 of its 4"));
  lab.submit("r4", {sized("a", 5)}, "team");
  EXPECT_THAT(lab.why("r4", "a"), HasSubstr("more than the whole quota of 4"));
  lab.end("r1", "a");
  EXPECT_EQ(lab.state("r2", "a"), "running");
}

TEST(ClusterTest, AZombiesResultIsRefused) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.submit("r", {sized("a", 1)});
  const uint64_t first = lab.at("r", "a").attempts.back().epoch;
  lab.add_node("n2", machine(4));
  lab.silent = {"n1"};
  lab.pass(12'000);
  ASSERT_EQ(lab.at("r", "a").attempts.back().node, "n2");
  lab.agent_step("n1", node::ProcessExited{first, 0});  // finishes unseen
  lab.silent.clear();
  lab.beat();
  EXPECT_EQ(lab.state("r", "a"), "running");
  EXPECT_EQ(lab.scheduler.state().leases.count(first), 0u);
  lab.end("r", "a");
  EXPECT_EQ(lab.state("r"), "succeeded");
}

TEST(ClusterTest, ARestartedCoordinatorTakesOverWhatRuns) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.submit("r", {sized("a", 1)});
  ASSERT_EQ(lab.launched.size(), 1u);
  auto again = Scheduler::replay(lab.records, simple_condition);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->digest(), lab.scheduler.digest());
  lab.scheduler = *std::move(again);
  lab.step(Restarted{});
  lab.pass(60'000);
  EXPECT_EQ(lab.launched.size(), 1u) << "nothing was started again";
  lab.end("r", "a");
  EXPECT_EQ(lab.state("r"), "succeeded");
}

TEST(ClusterTest, ANewAgentProcessIsANewSession) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.submit("r", {sized("a", 1)});
  const NodeReport old = lab.agents.at("n1").report();
  lab.add_node("n1", machine(4), 2);
  EXPECT_EQ(lab.at("r", "a").node_losses, 1);
  lab.step(old);
  EXPECT_THAT(lab.refused, HasSubstr("an older agent of node n1"));
  lab.pass(1'000);
  lab.end("r", "a");
  EXPECT_EQ(lab.state("r"), "succeeded");
}

TEST(ClusterTest, TwoAgentsOfOneNameAreToldApart) {
  Lab lab;
  NodeReport first{.node = "n1", .home = "here", .boot = 1};
  first.inventory = machine(4);
  lab.step(first);
  first.session = lab.scheduler.state().nodes.at("n1").session;
  NodeReport second = first;
  second.home = "there";
  second.session = 0;
  lab.step(second);
  EXPECT_THAT(lab.refused, HasSubstr("another agent goes by the name of node n1"));
  EXPECT_EQ(lab.scheduler.state().nodes.at("n1").session, first.session);
  lab.pass(60'000);
  ASSERT_FALSE(lab.scheduler.state().nodes.at("n1").alive);
  lab.step(second);
  EXPECT_EQ(lab.refused, "") << "the first one is lost: its place is free, and a boot is of one home only";
  EXPECT_GT(lab.scheduler.state().nodes.at("n1").session, first.session);
  lab.step(first);
  EXPECT_THAT(lab.refused, HasSubstr("another agent goes by the name of node n1"));
}

TEST(ClusterTest, WhatCannotBeTornDownIsQuarantined) {
  Lab lab;
  lab.add_node("n1", machine(4, 2));
  lab.submit("r1", {sized("a", 1, 1, 0, 1)});
  lab.obedient = false;
  lab.step(CancelRequested{"r1", "enough", false});
  lab.pass(70'000);
  EXPECT_EQ(lab.scheduler.state().leases.begin()->second.members[0].state, Member::State::kDirty);
  EXPECT_EQ(lab.state("r1"), "cancelled");
  lab.submit("r2", {sized("a", 1, 1, 0, 2)});
  EXPECT_EQ(lab.state("r2", "a"), "ready") << "one of the two GPUs is dirty";
  lab.agent_step("n1", node::ProcessExited{1 + lab.scheduler.state().nodes.at("n1").session, 137});
  EXPECT_EQ(lab.state("r2", "a"), "running");
}

TEST(ClusterTest, GpuMemoryMustBeFreeBeforeTheSlotIs) {
  Lab lab;
  lab.add_node("n1", machine(4, 1));
  lab.submit("r1", {sized("a", 1, 1, 0, 1)});
  lab.submit("r2", {sized("a", 1, 1, 0, 1)});
  lab.devices_free = false;
  lab.end("r1", "a");
  EXPECT_EQ(lab.state("r2", "a"), "ready");
  lab.devices_free = true;
  lab.pass(2'000);
  EXPECT_EQ(lab.state("r1"), "succeeded");
  EXPECT_EQ(lab.state("r2", "a"), "running");
}

TEST(ClusterTest, ADrainedNodeIsLeftInTime) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.submit("r", {sized("a", 1)});
  lab.step(DrainRequested{"n1", true, 5'000});
  lab.submit("r2", {sized("a", 1)});
  EXPECT_EQ(lab.state("r2", "a"), "ready");
  EXPECT_THAT(lab.why("r2", "a"), HasSubstr("1 draining"));
  lab.pass(4'000);
  EXPECT_EQ(lab.at("r", "a").attempts.back().stopping, "");
  lab.pass(2'000);
  EXPECT_EQ(lab.at("r", "a").drains, 1);
  EXPECT_EQ(lab.at("r", "a").infrastructure_failures, 0) << "it costs no attempt";
  EXPECT_EQ(lab.state("r", "a"), "ready");
  lab.step(DrainRequested{"n1", false});
  EXPECT_EQ(lab.state("r", "a"), "running");
}

TEST(ClusterTest, AnAgentThatIsStoppedInOrderCostsNothing) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.submit("r", {sized("a", 1)});
  lab.obedient = false;
  lab.agent_step("n1", node::ShutDown{2'000});
  lab.report("n1");
  EXPECT_TRUE(lab.scheduler.state().nodes.at("n1").alive) << "its worker still runs";
  lab.submit("r2", {sized("a", 1)});
  EXPECT_EQ(lab.state("r2", "a"), "ready") << "nothing new starts there";
  EXPECT_THAT(lab.why("r2", "a"), HasSubstr("on 0 nodes that it may use, 1 draining"));
  lab.agent_step("n1", node::ProcessExited{lab.at("r", "a").attempts.back().epoch, 143});
  EXPECT_FALSE(lab.scheduler.state().nodes.at("n1").alive) << "at once, without its lease";
  EXPECT_EQ(lab.at("r", "a").attempts.back().outcome, "retry");
  EXPECT_EQ(lab.at("r", "a").drains, 1);
  EXPECT_EQ(lab.at("r", "a").node_losses + lab.at("r", "a").infrastructure_failures, 0);
  lab.report("n1");
  EXPECT_FALSE(lab.scheduler.state().nodes.at("n1").alive) << "its last words do not bring it back";
  lab.obedient = true;
  lab.add_node("n1", machine(4), 2);
  lab.pass(1'000);
  EXPECT_EQ(lab.state("r", "a"), "running");
  EXPECT_EQ(lab.state("r2", "a"), "running");
}

TEST(ClusterTest, EqualStagesOfTwoRunsAreMadeOnce) {
  Lab lab;
  lab.add_node("n1", machine(4));
  RunSubmitted run;
  run.pipeline = pipeline({sized("a", 1)});
  run.keys = {{"a", "same"}};
  run.options = nlohmann::json::object();
  run.run = "r1";
  lab.step(run);
  run.run = "r2";
  lab.step(run);
  EXPECT_EQ(lab.launched.size(), 1u);
  EXPECT_THAT(lab.why("r2", "a"), HasSubstr("waits for stage 'a' of run r1, which makes the same result"));
  lab.made = {"same"};
  lab.end("r1", "a");
  EXPECT_EQ(lab.state("r2"), "succeeded");
  EXPECT_TRUE(lab.at("r2", "a").cached);
  EXPECT_EQ(lab.launched.size(), 1u);
}

TEST(ClusterTest, PausedRunsStartNothing) {
  Lab lab;
  lab.add_node("n1", machine(1));
  spec::StagePlan b = sized("b", 1);
  b.needs = {"a"};
  lab.submit("r", {sized("a", 1), b});
  lab.step(PauseRequested{"r", true});
  lab.end("r", "a");
  EXPECT_EQ(lab.state("r", "a"), "succeeded") << "what runs goes on";
  EXPECT_EQ(lab.state("r", "b"), "pending");
  EXPECT_THAT(lab.why("r", "b"), HasSubstr("its run is paused"));
  lab.step(PauseRequested{"r", false});
  EXPECT_EQ(lab.state("r", "b"), "running");
}

TEST(ClusterTest, DeadlinesOfStagesAndRuns) {
  Lab lab;
  lab.add_node("n1", machine(4));
  spec::StagePlan plan = sized("a", 1);
  plan.deadline_ms = 3'000;
  lab.submit("r", {plan});
  lab.pass(1'000);
  lab.end("r", "a", kIo);
  lab.pass(4'000);
  EXPECT_EQ(lab.state("r"), "failed");
  EXPECT_THAT(lab.at("r", "a").reason, HasSubstr("deadline"));
  RunSubmitted run;
  run.run = "late";
  run.pipeline = pipeline({sized("a", 1)});
  run.pipeline.deadline_ms = 5'000;
  run.keys = {{"a", "k"}};
  lab.step(run);
  lab.pass(6'000);
  EXPECT_EQ(lab.state("late"), "failed");
  EXPECT_THAT(lab.scheduler.find_run("late")->reason, HasSubstr("longer than its deadline of 5 s"));
}

TEST(ClusterTest, ABatchRunsSoManyAtATimeAndFailsFast) {
  Lab lab;
  lab.add_node("n1", machine(8));
  BatchSubmitted batch{.batch = "b", .name = "sweep", .max_parallel = 2, .fail_fast = true, .runs = {}};
  for (int i = 1; i <= 4; ++i) {
    RunSubmitted run;
    run.run = "r" + std::to_string(i);
    run.pipeline = pipeline({sized("a", 1)});
    run.keys = {{"a", "k" + std::to_string(i)}};
    run.options = nlohmann::json::object();
    batch.runs.push_back(run);
  }
  lab.step(batch);
  EXPECT_EQ(lab.state("r2"), "running");
  EXPECT_EQ(lab.state("r3"), "queued");
  EXPECT_THAT(lab.why("r3", "a"), HasSubstr("batch b runs 2 at a time"));
  lab.end("r1", "a");
  EXPECT_EQ(lab.state("r3"), "running");
  lab.end("r3", "a", 10);
  EXPECT_EQ(lab.state("r3"), "failed");
  EXPECT_EQ(lab.state("r2"), "cancelled");
  EXPECT_EQ(lab.state("r4"), "cancelled");
  EXPECT_THAT(lab.scheduler.find_run("r4")->reason, HasSubstr("run r3 of its batch failed"));
  EXPECT_EQ(no_run(lab.scheduler.state(), "b"), "'b' is a batch: name one of its runs, r1 to r4 (gridquant get b)");
  for (const char* run : {"r1", "r2", "r3", "r4"}) lab.step(DeleteRequested{run});
  EXPECT_TRUE(lab.scheduler.state().batches.empty()) << "a batch goes with its last run";
}

TEST(ClusterTest, ARequestIsDoneOnce) {
  Lab lab;
  RunSubmitted run;
  run.pipeline = pipeline({sized("a", 1)});
  run.options = nlohmann::json::object();
  run.request = "id-1";
  lab.step(run);
  const size_t records = lab.records.size();
  lab.step(run);  // its first answer was lost, or is still being made durable
  EXPECT_EQ(lab.records.size(), records);
  ASSERT_EQ(lab.answers.size(), 2u);
  EXPECT_EQ(lab.answers[0].result, "p-1");
  EXPECT_EQ(lab.answers[1].result, "p-1");
  run.pipeline.name = "other";
  lab.step(run);
  EXPECT_THAT(lab.answers[2].error, HasSubstr("used for another request"));
  EXPECT_EQ(lab.scheduler.state().runs.size(), 1u);
  lab.step(CancelRequested{"p-1", "x", false, "id-2"});
  lab.step(CancelRequested{"p-1", "x", false, "id-2"});
  EXPECT_EQ(lab.answers[4].error, "") << "the second one has the first one's answer, not 'is over'";
  auto again = Scheduler::replay(lab.records, simple_condition);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(std::get<Answer>(again->step(CancelRequested{"p-1", "x", false, "id-2"}, 9'000).actions[0]).error, "");
}

TEST(ClusterTest, ARetryIsANewRunAndTheOldOneStaysAsItEnded) {
  Lab lab;
  lab.add_node("n1", machine(4));
  spec::StagePlan b = sized("b", 1);
  b.needs = {"a"};
  lab.submit("r", {sized("a", 1), b});
  lab.end("r", "a");
  lab.end("r", "b", 10);
  lab.made = {"r-a"};
  lab.step(RetryRequested{"r", "again"});
  EXPECT_EQ(lab.state("r"), "failed");
  EXPECT_TRUE(lab.at("again", "a").cached);
  EXPECT_EQ(lab.state("again", "b"), "running");
  lab.step(DeleteRequested{"again"});
  EXPECT_THAT(lab.refused, HasSubstr("not over"));
  lab.step(DeleteRequested{"r"});
  EXPECT_EQ(lab.scheduler.find_run("r"), nullptr);
}

TEST(ClusterTest, EventsOfARunAreNumberedWithoutGaps) {
  Lab lab;
  lab.add_node("n1", machine(4));
  lab.submit("r1", {sized("a", 1)});
  lab.submit("r2", {sized("a", 1)});
  lab.end("r1", "a");
  lab.end("r2", "a");
  std::map<std::string, uint64_t> last;
  for (const Record& record : lab.records) {
    if (record.run.empty()) continue;
    EXPECT_EQ(record.seq, ++last[record.run]);
  }
  EXPECT_GT(last["r1"], 5u);
  State state;
  for (size_t i = 0; i + 1 < lab.records.size(); ++i) ASSERT_TRUE(apply(state, lab.records[i]).ok());
  Record gap = lab.records.back();
  gap.run = "r2";
  gap.seq += 7;
  EXPECT_FALSE(apply(state, gap).ok());
}

}  // namespace
}  // namespace gridquant::sched
