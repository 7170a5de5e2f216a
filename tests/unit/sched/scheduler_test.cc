// The scheduler's decisions, one story per test.
#include "coordinator/sched/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/sched/pipeline_json.h"
#include "tests/unit/sched/world.h"

namespace gridquant::sched {
namespace {

using testing::HasSubstr;

constexpr int kIo = static_cast<int>(ExitCode::kIo);
constexpr int kParameters = static_cast<int>(ExitCode::kParameters);
constexpr int kCorruption = static_cast<int>(ExitCode::kCorruption);

World started(std::vector<spec::StagePlan> stages, int cores = 4) {
  World world;
  world.add_node(cores);
  world.submit(pipeline(std::move(stages)));
  world.answer_missing();
  return world;
}

// The attempt of `reader` ends because what `input` made is damaged.
void find_damage(World& world, const std::string& reader, const std::string& input) {
  AttemptFinished finished{.run = "r", .stage = reader, .epoch = world.epoch(reader)};
  finished.exit_code = kCorruption;
  finished.failure = FailureClass::kCorruption;
  finished.corrupt_inputs = {input};
  world.step(finished);
}

TEST(SchedulerTest, RunsStagesInOrderOfNeedsAndEnds) {
  World world = started({stage("a"), stage("b", {"a"}, {"a"})});
  EXPECT_EQ(world.state("a"), StageState::kRunning);
  EXPECT_EQ(world.state("b"), StageState::kPending);
  world.step(AttemptStarted{"r", "a", world.epoch("a"), 77});
  EXPECT_EQ(world.at("a").attempts[0].pid, 77);
  world.finish("a");
  EXPECT_EQ(world.state("b"), StageState::kRunning);
  world.finish("b");
  EXPECT_EQ(world.run_state(), RunState::kSucceeded);
  ASSERT_NE(world.next<RunEnded>(), nullptr);
}

TEST(SchedulerTest, FoundArtifactIsReusedWithoutAnAttempt) {
  World world;
  world.add_node();
  world.submit(pipeline({stage("a"), stage("b", {"a"}, {"a"})}));
  world.step(ArtifactFound{"r", "a", "key-a", {{"x", 1}}});
  EXPECT_EQ(world.state("a"), StageState::kSucceeded);
  EXPECT_TRUE(world.at("a").cached);
  EXPECT_TRUE(world.at("a").attempts.empty());
  EXPECT_EQ(world.at("a").summary["x"], 1);
  EXPECT_EQ(world.state("b"), StageState::kLooking);
  world.step(ArtifactFound{"r", "b", "key-of-another", {}});
  EXPECT_EQ(world.refused, 1);
  EXPECT_EQ(world.state("b"), StageState::kLooking);
}

TEST(SchedulerTest, WithoutCacheTheFirstAttemptIsFresh) {
  World world;
  world.add_node();
  world.submit(pipeline({stage("a")}), /*use_cache=*/false);
  EXPECT_EQ(world.next<FindArtifact>(), nullptr);
  const StartAttempt* start = world.next<StartAttempt>();
  ASSERT_NE(start, nullptr);
  const std::string order = start->fresh;
  EXPECT_NE(order, "");
  world.finish("a", kIo);
  world.pass(100);
  start = world.next<StartAttempt>();
  ASSERT_NE(start, nullptr);
  EXPECT_EQ(start->fresh, order) << "a second attempt goes on where the first one stopped, if it got so far";
}

TEST(SchedulerTest, WithoutCacheNothingIsEmptiedThatARunStillReads) {
  World world;
  world.add_node(1);
  world.submit(pipeline({stage("a"), stage("b", {"a"}, {"a"})}), /*use_cache=*/false);
  world.finish("a");
  world.submit(pipeline({stage("a")}), /*use_cache=*/false, "r2");
  EXPECT_EQ(world.state("a", "r2"), StageState::kLooking) << "what r has made is looked up: its b is to come";
  world.step(ArtifactFound{"r2", "a", "key-a", {}});
  EXPECT_TRUE(world.at("a", "r2").cached);
  world.finish("b");
  ASSERT_EQ(world.run_state(), RunState::kSucceeded);
  world.submit(pipeline({stage("a")}), /*use_cache=*/false, "r3");
  EXPECT_EQ(world.state("a", "r3"), StageState::kLooking) << "and until the run is delivered";
  world.step(ArtifactFound{"r3", "a", "key-a", {}});
  for (const char* run : {"r", "r2", "r3"}) world.step(RunDelivered{run, ""});
  world.submit(pipeline({stage("a")}), /*use_cache=*/false, "r4");
  EXPECT_EQ(world.state("a", "r4"), StageState::kRunning) << "now it is made again";
}

TEST(SchedulerTest, InfrastructureFailuresAreRetriedWithGrowingWaitsAndABound) {
  World world = started({stage("a"), stage("b", {"a"}, {"a"})});
  world.finish("a", kIo);
  EXPECT_EQ(world.state("a"), StageState::kWaiting);
  EXPECT_EQ(world.at("a").not_before_ms, world.now + 100);
  EXPECT_EQ(world.scheduler.next_timer_ms(), world.now + 100);
  world.pass(99);
  EXPECT_EQ(world.state("a"), StageState::kWaiting);
  world.pass(1);
  EXPECT_EQ(world.state("a"), StageState::kRunning);
  world.finish("a", 137);  // killed by a signal
  EXPECT_EQ(world.at("a").not_before_ms, world.now + 200);
  world.pass(200);
  world.finish("a", kIo);
  EXPECT_EQ(world.state("a"), StageState::kFailed);
  EXPECT_EQ(world.at("a").attempts.size(), 3u);
  EXPECT_THAT(world.at("a").reason, HasSubstr("attempt 3 of 3"));
  EXPECT_EQ(world.state("b"), StageState::kSkipped);
  EXPECT_EQ(world.at("b").reason, "stage 'a' failed");
  EXPECT_EQ(world.run_state(), RunState::kFailed);
  EXPECT_THAT(world.scheduler.find_run("r")->reason, HasSubstr("stage 'a' failed: exit 132"));
}

TEST(SchedulerTest, BackoffStopsGrowingAtItsMaximum) {
  spec::StagePlan plan = stage("a");
  plan.retry.max_attempts = 6;
  World world = started({plan});
  std::vector<int64_t> waits;
  for (int i = 0; i < 5; ++i) {
    world.finish("a", kIo);
    waits.push_back(world.at("a").not_before_ms - world.now);
    world.pass(waits.back());
  }
  EXPECT_THAT(waits, testing::ElementsAre(100, 200, 300, 300, 300));
}

TEST(SchedulerTest, UserFailuresAreNotRetried) {
  World world = started({stage("a"), stage("b", {"a"}), stage("c")});
  world.finish("a", kParameters);
  EXPECT_EQ(world.state("a"), StageState::kFailed);
  EXPECT_EQ(world.at("a").attempts.size(), 1u);
  EXPECT_EQ(world.state("b"), StageState::kSkipped);
  EXPECT_EQ(world.state("c"), StageState::kRunning) << "what does not depend on it goes on";
  world.finish("c");
  EXPECT_EQ(world.run_state(), RunState::kFailed);
}

TEST(SchedulerTest, ResultsOfOlderEpochsAreRefused) {
  World world = started({stage("a")});
  const uint64_t first = world.epoch("a");
  world.finish("a", kIo);
  world.pass(100);
  ASSERT_NE(world.epoch("a"), first);
  world.step(AttemptFinished{.run = "r", .stage = "a", .epoch = first});  // a zombie that succeeded late
  EXPECT_EQ(world.refused, 1);
  world.step(AttemptStarted{"r", "a", first, 5});
  EXPECT_EQ(world.refused, 2);
  EXPECT_EQ(world.state("a"), StageState::kRunning);
  world.finish("a");
  EXPECT_EQ(world.run_state(), RunState::kSucceeded);
  world.step(AttemptFinished{.run = "r", .stage = "a", .epoch = world.epoch("a")});  // twice
  EXPECT_EQ(world.refused, 3);
}

TEST(SchedulerTest, AnAttemptThatTakesTooLongIsStoppedAndRetried) {
  spec::StagePlan plan = stage("a");
  plan.timeout_ms = 5'000;
  World world = started({plan});
  EXPECT_EQ(world.scheduler.next_timer_ms(), world.now + 5'000);
  world.pass(5'000);
  const StopAttempt* stop = world.next<StopAttempt>();
  ASSERT_NE(stop, nullptr);
  EXPECT_EQ(stop->epoch, world.epoch("a"));
  EXPECT_GT(stop->grace_ms, 0);
  EXPECT_EQ(world.scheduler.next_timer_ms(), std::nullopt) << "asked once";
  world.finish("a", 143);
  EXPECT_EQ(world.state("a"), StageState::kWaiting);
  EXPECT_THAT(world.at("a").attempts[0].message, HasSubstr("timed out after 5 s"));
  EXPECT_EQ(world.at("a").attempts[0].exit_code, static_cast<int>(ExitCode::kTimeout));
}

TEST(SchedulerTest, CancelStopsWhatRunsAndCancelsTheRest) {
  World world = started({stage("a"), stage("b", {"a"})});
  world.step(CancelRequested{"r", "Ctrl-C", false});
  EXPECT_EQ(world.state("b"), StageState::kCancelled);
  EXPECT_EQ(world.run_state(), RunState::kCancelling);
  const StopAttempt* stop = world.next<StopAttempt>();
  ASSERT_NE(stop, nullptr);
  EXPECT_GT(stop->grace_ms, 0);
  world.step(CancelRequested{"r", "Ctrl-C", false});
  EXPECT_EQ(world.refused, 1);
  world.step(CancelRequested{"r", "Ctrl-C", true});
  stop = world.next<StopAttempt>();
  ASSERT_NE(stop, nullptr);
  EXPECT_EQ(stop->grace_ms, 0);
  world.finish("a", 137);
  EXPECT_EQ(world.state("a"), StageState::kCancelled);
  EXPECT_EQ(world.run_state(), RunState::kCancelled);
  EXPECT_EQ(world.scheduler.find_run("r")->reason, "Ctrl-C");
}

TEST(SchedulerTest, SuccessThatRacesWithCancelCounts) {
  World world = started({stage("a"), stage("b", {"a"})});
  world.step(CancelRequested{"r", "Ctrl-C", false});
  world.finish("a", 0);
  EXPECT_EQ(world.state("a"), StageState::kSucceeded);
  EXPECT_EQ(world.run_state(), RunState::kCancelled);
}

TEST(SchedulerTest, CancelDuringBackoffEndsTheRunAtOnce) {
  World world = started({stage("a")});
  world.finish("a", kIo);
  world.step(CancelRequested{"r", "Ctrl-C", false});
  EXPECT_EQ(world.run_state(), RunState::kCancelled);
  EXPECT_EQ(world.scheduler.next_timer_ms(), std::nullopt);
}

TEST(SchedulerTest, ConditionsDecide) {
  spec::StagePlan no = stage("no", {"a"}), yes = stage("yes", {"a"}), broken = stage("broken", {"a"});
  no.condition = "false";
  yes.condition = "true";
  broken.condition = "what?";
  World world = started({stage("a"), no, yes, broken, stage("after", {"no"})});
  world.finish("a");
  EXPECT_EQ(world.state("no"), StageState::kSkipped);
  EXPECT_THAT(world.at("no").reason, HasSubstr("condition is false"));
  EXPECT_EQ(world.state("after"), StageState::kSkipped);
  EXPECT_EQ(world.at("after").reason, "stage 'no' was skipped");
  EXPECT_EQ(world.state("broken"), StageState::kFailed);
  EXPECT_THAT(world.at("broken").reason, HasSubstr("not a condition"));
  EXPECT_EQ(world.state("yes"), StageState::kRunning);
}

TEST(SchedulerTest, AConditionMayAskForAFailureButInputsMustBeThere) {
  spec::StagePlan cleanup = stage("cleanup", {"a"}), reader = stage("reader", {"a"}, {"a"});
  cleanup.condition = "failed a";
  reader.condition = "true";
  World world = started({stage("a"), cleanup, reader});
  world.finish("a", kParameters);
  EXPECT_EQ(world.state("cleanup"), StageState::kRunning);
  EXPECT_EQ(world.state("reader"), StageState::kSkipped) << "there is nothing to read";
}

TEST(SchedulerTest, SkippedByConditionIsNoFailure) {
  spec::StagePlan no = stage("no");
  no.condition = "false";
  World world = started({no});
  EXPECT_EQ(world.run_state(), RunState::kSucceeded);
}

TEST(SchedulerTest, CoresAreSharedAndNeverOverbooked) {
  spec::StagePlan a = stage("a"), b = stage("b"), c = stage("c"), all = stage("all");
  a.cores = b.cores = 2;
  c.cores = 1;
  World world = started({a, b, c, all}, 4);
  EXPECT_EQ(world.state("a"), StageState::kRunning);
  EXPECT_EQ(world.state("b"), StageState::kRunning);
  EXPECT_EQ(world.state("c"), StageState::kReady);
  EXPECT_EQ(world.state("all"), StageState::kReady);
  world.finish("a");
  EXPECT_EQ(world.state("c"), StageState::kRunning);
  world.finish("b");
  EXPECT_EQ(world.state("all"), StageState::kReady);
  world.finish("c");
  EXPECT_EQ(world.state("all"), StageState::kRunning);
}

TEST(SchedulerTest, MoreCoresThanThereAreMeansAllOfThem) {
  spec::StagePlan big = stage("big");
  big.cores = 64;
  World world = started({big}, 2);
  EXPECT_EQ(world.state("big"), StageState::kRunning);
}

TEST(SchedulerTest, MemoryThatNoNodeHasFailsWithTheReason) {
  spec::StagePlan big = stage("big");
  big.memory_bytes = 64ll << 30;
  World world = started({big, stage("after", {"big"})});
  EXPECT_EQ(world.state("big"), StageState::kFailed);
  EXPECT_THAT(world.at("big").reason, HasSubstr("65536 MiB"));
  EXPECT_EQ(world.state("after"), StageState::kSkipped);
  EXPECT_EQ(world.run_state(), RunState::kFailed);
}

TEST(SchedulerTest, StagesWithOneKeyNeverRunTogether) {
  World world;
  world.add_node();
  RunSubmitted submitted;
  submitted.run = "r";
  spec::StagePlan a = stage("a"), twin = stage("twin");
  a.cores = twin.cores = 1;
  submitted.pipeline = pipeline({a, twin});
  submitted.keys = {{"a", "same"}, {"twin", "same"}};
  submitted.options = nlohmann::json::object();
  world.step(submitted);
  world.answer_missing();
  EXPECT_EQ(world.state("a"), StageState::kRunning);
  EXPECT_EQ(world.state("twin"), StageState::kPending);
  world.step(AttemptFinished{.run = "r", .stage = "a", .epoch = world.epoch("a")});
  EXPECT_EQ(world.state("twin"), StageState::kLooking);
  world.step(ArtifactFound{"r", "twin", "same", {}});
  EXPECT_EQ(world.run_state(), RunState::kSucceeded);
}

TEST(SchedulerTest, ACorruptInputIsMadeAgainAndThenItsReader) {
  World world = started({stage("a"), stage("b", {"a"}, {"a"})});
  world.finish("a");
  AttemptFinished finished{.run = "r", .stage = "b", .epoch = world.epoch("b")};
  finished.exit_code = kCorruption;
  finished.failure = FailureClass::kCorruption;
  finished.message = "shard 3";
  finished.corrupt_inputs = {"a"};
  while (world.next<StartAttempt>() != nullptr) {
  }
  world.step(finished);
  world.answer_missing();
  EXPECT_EQ(world.state("a"), StageState::kRunning);
  EXPECT_EQ(world.state("b"), StageState::kPending);
  const StartAttempt* start = world.next<StartAttempt>();
  ASSERT_NE(start, nullptr);
  EXPECT_EQ(start->stage, "a");
  EXPECT_NE(start->fresh, "");
  world.finish("a");
  EXPECT_EQ(world.state("b"), StageState::kRunning);
  world.finish("b");
  EXPECT_EQ(world.run_state(), RunState::kSucceeded);
}

TEST(SchedulerTest, RemakingIsBounded) {
  World world = started({stage("a")});
  for (int i = 0; i < 2; ++i) {
    world.finish("a", kCorruption);  // no input is corrupt: its own blocks are
    EXPECT_EQ(world.state("a"), StageState::kRunning) << i;
  }
  world.finish("a", kCorruption);
  EXPECT_EQ(world.state("a"), StageState::kFailed);
  EXPECT_EQ(world.at("a").attempts.size(), 3u);
}

TEST(SchedulerTest, AFreshStartWaitsForThoseWhoReadTheOldArtifact) {
  spec::StagePlan b = stage("b", {"a"}, {"a"}), c = stage("c", {"a"}, {"a"});
  b.cores = c.cores = 1;
  World world = started({stage("a"), b, c});
  world.finish("a");
  find_damage(world, "b", "a");
  EXPECT_EQ(world.state("a"), StageState::kReady) << "c still reads it";
  world.finish("c");
  EXPECT_EQ(world.state("a"), StageState::kRunning);
}

TEST(SchedulerTest, APausedRunHoldsNobodyElseUp) {
  World world;
  world.submit(pipeline({stage("a")}), true, "paused");
  world.answer_missing();
  world.submit(pipeline({stage("a")}), true, "other");
  ASSERT_EQ(world.state("a", "paused"), StageState::kReady);
  ASSERT_EQ(world.state("a", "other"), StageState::kPending) << "one of them makes it";
  world.step(PauseRequested{.run = "paused", .paused = true});
  world.answer_missing();
  world.add_node();
  ASSERT_EQ(world.state("a", "other"), StageState::kRunning);
  world.step(PauseRequested{.run = "paused", .paused = false});
  world.answer_missing();
  EXPECT_EQ(world.state("a", "paused"), StageState::kReady) << "two attempts would write one artifact";
  world.finish("a", 0, "other");
  EXPECT_EQ(world.state("a", "paused"), StageState::kRunning);
  world.finish("a", 0, "paused");
  EXPECT_EQ(world.run_state("paused"), RunState::kSucceeded);
}

// c was ready, but had no room, when b found out that what a made is damaged.
class DamageTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(RemakeEnds, DamageTest, testing::Values(0, static_cast<int>(ExitCode::kInput)));

TEST_P(DamageTest, AReadyReaderDoesNotStartWhileItsInputIsMadeAgain) {
  spec::StagePlan a = stage("a"), x = stage("x"), b = stage("b", {"a"}, {"a"}), c = stage("c", {"a"}, {"a"});
  for (spec::StagePlan* plan : {&a, &x, &b, &c}) plan->cores = 1;
  World world;
  world.add_node(/*cores=*/2);
  world.submit(pipeline({a, x, b, c}));
  world.answer_missing();
  world.finish("a");
  ASSERT_EQ(world.state("b"), StageState::kRunning);
  ASSERT_EQ(world.state("c"), StageState::kReady);
  find_damage(world, "b", "a");
  world.answer_missing();
  ASSERT_EQ(world.state("a"), StageState::kRunning);
  world.finish("x");
  EXPECT_EQ(world.state("c"), StageState::kReady) << "there is room, but a's folder is being filled";
  EXPECT_THAT(*explain(world.scheduler, "r", "c", world.now), testing::HasSubstr("'a', whose damaged result is made"));
  world.finish("a", GetParam());
  if (GetParam() == 0) {
    world.finish("b");
    world.finish("c");
    EXPECT_EQ(world.run_state(), RunState::kSucceeded);
  } else {
    EXPECT_EQ(world.state("c"), StageState::kFailed) << "it does not wait for ever";
    EXPECT_EQ(world.run_state(), RunState::kFailed);
  }
}

TEST(SchedulerTest, NorDoesAReaderOfAnotherRun) {
  spec::StagePlan a = stage("a"), b = stage("b", {"a"}, {"a"}), d = stage("d", {"a"}, {"a"});
  a.cores = b.cores = d.cores = 1;
  World world;
  world.add_node(/*cores=*/1);
  world.submit(pipeline({a, b}));
  world.answer_missing();
  world.finish("a");
  world.submit(pipeline({a, d}), true, "other");
  world.step(ArtifactFound{"other", "a", "key-a", {}});
  world.answer_missing();
  ASSERT_EQ(world.state("d", "other"), StageState::kReady);
  find_damage(world, "b", "a");
  world.answer_missing();
  ASSERT_EQ(world.state("a"), StageState::kRunning);
  world.add_node(/*cores=*/4);
  EXPECT_EQ(world.state("d", "other"), StageState::kReady);
  world.finish("a");
  EXPECT_EQ(world.state("d", "other"), StageState::kRunning);
}

TEST(SchedulerTest, ALostNodeIsAnInfrastructureFailure) {
  World world = started({stage("a")});
  world.step(NodeChanged{"n", 4, 1 << 20, false});
  EXPECT_EQ(world.state("a"), StageState::kWaiting);
  world.pass(100);
  EXPECT_EQ(world.state("a"), StageState::kReady) << "nowhere to go";
  world.step(NodeChanged{"n", 4, 1 << 20, true});
  EXPECT_EQ(world.state("a"), StageState::kRunning);
}

TEST(SchedulerTest, AnAbandonedRunIsInterrupted) {
  World world = started({stage("a"), stage("b", {"a"})});
  world.step(RunAbandoned{"r", "gridquant was killed"});
  EXPECT_EQ(world.run_state(), RunState::kInterrupted);
  EXPECT_EQ(world.at("a").attempts[0].outcome, "interrupted");
  world.step(AttemptFinished{.run = "r", .stage = "a", .epoch = 1});
  EXPECT_EQ(world.refused, 1);
}

TEST(SchedulerTest, AfterARestartWhatMayBeLostIsAskedForAgain) {
  World world = started({stage("a"), stage("b")}, 8);
  auto again = Scheduler::replay(world.records, simple_condition);
  ASSERT_TRUE(again.ok());
  StepResult result = again->step(Restarted{}, world.now);
  ASSERT_EQ(result.actions.size(), 1u);  // a has all cores, b waits
  EXPECT_EQ(std::get<StartAttempt>(result.actions[0]).epoch, world.epoch("a"));
  ASSERT_EQ(result.records.size(), 1u);
  EXPECT_EQ(result.records[0].type, RecordType::kIncarnation);
}

TEST(SchedulerTest, ASecondSubmissionOfARunIsRefused) {
  World world = started({stage("a")});
  world.submit(pipeline({stage("a")}));
  EXPECT_EQ(world.refused, 1);
}

TEST(SchedulerTest, PipelinesSurviveTheirJson) {
  spec::StagePlan plan = stage("a", {"z"}, {"z"});
  plan.with = {{"bits", 4}};
  plan.condition = "true";
  plan.matrix = {{"bits", "4"}};
  plan.retry = {7, 11, 1.5, 13};
  plan.timeout_ms = 17;
  plan.cores = 19;
  plan.memory_bytes = 23;
  plan.version = 3;
  const auto text = to_json(pipeline({stage("z"), plan})).dump();
  const auto back = pipeline_from_json(nlohmann::json::parse(text));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(to_json(*back).dump(), text);
  EXPECT_EQ(back->stages[1].retry.max_attempts, 7);
  EXPECT_EQ(back->stages[1].timeout_ms, 17);
  EXPECT_FALSE(pipeline_from_json({{"name", 5}}).ok());
}

}  // namespace
}  // namespace gridquant::sched
