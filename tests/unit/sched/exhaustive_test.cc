// Small worlds, all orders: every sequence of up to four events on a graph of three stages. The invariants are
// World's, after every step; afterwards the faults stop and every run must come to an end.
#include <gtest/gtest.h>

#include "tests/unit/sched/world.h"

namespace gridquant::sched {
namespace {

enum class Event { kSucceedA, kIoA, kSucceedB, kFailB, kCorruptC, kTime, kCancel, kNodeLost, kNodeBack, kZombie };
constexpr int kEvents = 10;
constexpr int kMaxLength = 4;

// a -> b, a -> c (c reads both): with a time-out on b.
spec::Pipeline diamond() {
  spec::StagePlan b = stage("b", {"a"}, {"a"}), c = stage("c", {"a", "b"}, {"a", "b"});
  b.timeout_ms = 1'000;
  return pipeline({stage("a"), b, c});
}

void finish_if_running(World& world, const std::string& name, int exit_code, std::vector<std::string> corrupt = {}) {
  if (world.state(name) != StageState::kRunning) return;
  AttemptFinished finished{.run = "r", .stage = name, .epoch = world.epoch(name)};
  finished.exit_code = exit_code;
  finished.failure = failure_class_for(exit_code);
  finished.corrupt_inputs = std::move(corrupt);
  world.step(finished);
  world.answer_missing();
}

void perform(World& world, Event event) {
  switch (event) {
    case Event::kSucceedA:
      return finish_if_running(world, "a", 0);
    case Event::kIoA:
      return finish_if_running(world, "a", static_cast<int>(ExitCode::kIo));
    case Event::kSucceedB:
      return finish_if_running(world, "b", 0);
    case Event::kFailB:
      return finish_if_running(world, "b", static_cast<int>(ExitCode::kInput));
    case Event::kCorruptC:
      return finish_if_running(world, "c", static_cast<int>(ExitCode::kCorruption), {"a"});
    case Event::kTime:
      return world.pass(1'000);
    case Event::kCancel:
      world.step(CancelRequested{"r", "x", false});
      return;
    case Event::kNodeLost:
      world.step(NodeChanged{"n", 4, 1 << 20, false});
      return;
    case Event::kNodeBack:
      world.step(NodeChanged{"n", 4, 1 << 20, true});
      return;
    case Event::kZombie:  // the first epoch that ever was reports success
      if (world.epoch("a") > 1) world.step(AttemptFinished{.run = "r", .stage = "a", .epoch = 1});
      return;
  }
}

// Once nothing fails any more, the run ends within a bound.
void expect_end(World& world) {
  world.step(NodeChanged{"n", 4, 1 << 20, true});
  for (int i = 0; i < 30 && !is_over(world.run_state()); ++i) {
    for (const char* name : {"a", "b", "c"}) finish_if_running(world, name, 0);
    world.pass(300);
  }
  ASSERT_TRUE(is_over(world.run_state()));
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(is_over(world.state(name)));
    ASSERT_LE(world.at(name).attempts.size(), 3u + 2u * 2u) << "retries and remakes are bounded";
  }
}

// Performs the `length` events whose digits make up `order`, then lets the run end; says how.
std::string end_of(int order, int length) {
  World world;
  world.thorough = false;  // each shorter order is one of its own, so comparing at the end compares everywhere
  world.add_node();
  world.submit(diamond());
  world.answer_missing();
  for (int i = 0; i < length; ++i, order /= kEvents) perform(world, static_cast<Event>(order % kEvents));
  world.check_replay();
  expect_end(world);
  return name_of(world.run_state());
}

TEST(ExhaustiveTest, EveryOrderKeepsTheInvariantsAndEnds) {
  std::set<std::string> ends;
  for (int length = 1, orders = kEvents; length <= kMaxLength; ++length, orders *= kEvents) {
    for (int order = 0; order < orders; ++order) {
      ends.insert(end_of(order, length));
      ASSERT_FALSE(testing::Test::HasFailure()) << "order " << order << " of length " << length;
    }
  }
  EXPECT_EQ(ends, (std::set<std::string>{"succeeded", "failed", "cancelled"}));
}

TEST(ExhaustiveTest, EveryPrefixOfTheRecordsReplaysAndCanGoOn) {
  World world;
  world.add_node();
  world.submit(diamond());
  world.answer_missing();
  for (const Event event : {Event::kIoA, Event::kTime, Event::kSucceedA, Event::kTime, Event::kTime, Event::kSucceedB,
                            Event::kCorruptC, Event::kSucceedA, Event::kCancel}) {
    perform(world, event);
  }
  expect_end(world);
  EXPECT_EQ(Scheduler::replay(world.records, simple_condition)->digest(), world.scheduler.digest());
  for (size_t length = 2; length <= world.records.size(); ++length) {
    const std::span<const Record> prefix(world.records.data(), length);
    auto scheduler = Scheduler::replay(prefix, simple_condition);
    ASSERT_TRUE(scheduler.ok()) << length << ": " << scheduler.status();
    scheduler->step(Restarted{}, world.now);
    const sched::Run* run = scheduler->find_run("r");
    if (run == nullptr || is_over(run->state)) continue;
    scheduler->step(RunAbandoned{"r", "crash"}, world.now);
    EXPECT_TRUE(is_over(scheduler->find_run("r")->state)) << length;
  }
}

}  // namespace
}  // namespace gridquant::sched
