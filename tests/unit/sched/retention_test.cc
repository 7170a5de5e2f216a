// What is kept of the past: deleted runs leave two records, old runs make room, lost nodes are forgotten. And what a
// new run is warned of.
#include <gmock/gmock.h>

#include "tests/unit/sched/lab.h"

namespace gridquant::sched {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// As the store keeps them.
std::vector<Record> kept(const std::vector<Record>& records) {
  std::vector<Record> kept;
  for (const Record& record : records) {
    if (record.type != RecordType::kRunDeleted) {
      kept.push_back(record);
      continue;
    }
    const auto [mark, last] = remains_of(record);
    const auto of_run = [&](const Record& one) { return one.run == record.run; };
    const auto first = std::find_if(kept.begin(), kept.end(), of_run);
    *first = mark;
    std::erase_if(kept, of_run);
    kept.push_back(last);
  }
  return kept;
}

void expect_same_state(const Lab& lab) {
  for (size_t count = 0; count <= lab.records.size(); ++count) {
    const std::vector<Record> prefix(lab.records.begin(), lab.records.begin() + static_cast<long>(count));
    const auto whole = Scheduler::replay(prefix, simple_condition);
    const auto less = Scheduler::replay(kept(prefix), simple_condition);
    ASSERT_TRUE(whole.ok()) << whole.status();
    ASSERT_TRUE(less.ok()) << less.status();
    ASSERT_EQ(to_text(less->state()), to_text(whole->state())) << count;
  }
}

spec::StagePlan small(const std::string& name) {
  spec::StagePlan plan = stage(name);
  plan.cores = 1;
  return plan;
}

size_t about(const std::vector<Record>& records, const std::string& run) {
  return static_cast<size_t>(
      std::count_if(records.begin(), records.end(), [&](const Record& record) { return record.run == run; }));
}

TEST(RetentionTest, ADeletedRunLeavesTwoRecordsAndTheSameState) {
  Lab lab;
  lab.add_node("n1", {.cores = 4});
  lab.submit("r1", {small("a")});
  lab.submit("r2", {small("a")});
  lab.submit("r3", {small("a")});
  lab.end("r1", "a");
  lab.step(DeleteRequested{"r2"});
  EXPECT_THAT(lab.refused, HasSubstr("not over"));
  lab.step(DeleteRequested{"r1", "ask"});
  EXPECT_EQ(lab.scheduler.find_run("r1"), nullptr);
  lab.end("r3", "a", 11);
  lab.step(DeleteRequested{"r3"});
  lab.submit("r4", {small("a")});
  EXPECT_EQ(lab.scheduler.find_run("r4")->number, 4u) << "numbers are not given again";
  const std::vector<Record> less = kept(lab.records);
  EXPECT_EQ(about(less, "r1"), 1u);
  EXPECT_EQ(about(less, "r3"), 1u);
  EXPECT_EQ(about(less, "r2"), about(lab.records, "r2"));
  expect_same_state(lab);
}

TEST(RetentionTest, ABatchGoesWithTheLastOfItsRuns) {
  Lab lab;
  lab.add_node("n1", {.cores = 4});
  BatchSubmitted batch;
  batch.batch = "b-1";
  batch.name = "b";
  for (const char* run : {"x", "y"}) {
    RunSubmitted one;
    one.run = run;
    one.pipeline = pipeline({small("a")});
    one.keys["a"] = std::string("key ") + run;
    one.options = nlohmann::json::object();
    batch.runs.push_back(one);
  }
  lab.step(batch);
  lab.end("x", "a");
  lab.end("y", "a");
  lab.step(DeleteRequested{"x"});
  EXPECT_THAT(lab.scheduler.state().batches.at("b-1").runs, ElementsAre("y"));
  lab.step(DeleteRequested{"y"});
  EXPECT_THAT(lab.scheduler.state().batches, IsEmpty());
  expect_same_state(lab);
}

TEST(RetentionTest, TheOldestRunsThatAreOverMakeRoom) {
  Lab lab(Limits{.keep_runs = 2});
  lab.add_node("n1", {.cores = 8});
  for (const char* run : {"r1", "r2", "r3", "r4"}) lab.submit(run, {small("a")});
  lab.end("r2", "a", 11);
  lab.end("r4", "a", 11);
  EXPECT_EQ(lab.scheduler.state().runs.size(), 4u);
  lab.end("r3", "a");
  EXPECT_EQ(lab.scheduler.find_run("r2"), nullptr) << "the oldest that is over";
  EXPECT_NE(lab.scheduler.find_run("r1"), nullptr) << "it goes on";
  lab.step(RunDelivered{"r3", ""});
  lab.end("r1", "a", 11);
  EXPECT_EQ(lab.scheduler.find_run("r1"), nullptr) << "it was submitted first";
  EXPECT_NE(lab.scheduler.find_run("r3"), nullptr);
  EXPECT_NE(lab.scheduler.find_run("r4"), nullptr);
  expect_same_state(lab);
}

TEST(RetentionTest, ARunThatWaitsForItsDeliveryStays) {
  Lab lab(Limits{.keep_runs = 1});
  lab.add_node("n1", {.cores = 8});
  for (const char* run : {"r1", "r2"}) lab.submit(run, {small("a")});
  lab.end("r1", "a");
  lab.end("r2", "a", 11);
  EXPECT_NE(lab.scheduler.find_run("r1"), nullptr);
  EXPECT_EQ(lab.scheduler.find_run("r2"), nullptr);
}

TEST(RetentionTest, OnlyALostNodeIsForgotten) {
  Lab lab;
  lab.add_node("n1", {.cores = 4});
  lab.add_node("n2", {.cores = 4});
  lab.step(ForgetRequested{"nobody"});
  EXPECT_THAT(lab.refused, HasSubstr("there is no node 'nobody'"));
  lab.step(ForgetRequested{"n1"});
  EXPECT_THAT(lab.refused, HasSubstr("node n1 is alive"));
  lab.submit("r", {small("a")});
  ASSERT_EQ(lab.at("r", "a").attempts.back().node, "n1");
  lab.silent.insert("n1");
  lab.pass(12'000);
  ASSERT_FALSE(lab.scheduler.state().nodes.at("n1").alive);
  lab.end("r", "a");
  ASSERT_EQ(lab.state("r"), "succeeded");
  lab.step(RunDelivered{"r", ""});
  lab.step(DeleteRequested{"r"});
  EXPECT_THAT(lab.refused, HasSubstr("may run on a lost node"));
  lab.step(ForgetRequested{"n1"});
  EXPECT_EQ(lab.refused, "");
  EXPECT_EQ(lab.scheduler.state().nodes.count("n1"), 0u);
  lab.step(DeleteRequested{"r"});
  EXPECT_EQ(lab.refused, "");
  lab.silent.clear();
  lab.pass(2'000);
  EXPECT_TRUE(lab.scheduler.state().nodes.at("n1").alive) << "it has come back, as a new one";
  EXPECT_THAT(lab.agents.at("n1").report().attempts, IsEmpty()) << "and has ended what it ran";
  expect_same_state(lab);
}

TEST(OutOfReachTest, SaysWhatNoNodeCanGive) {
  Lab lab;
  spec::StagePlan plan = small("a");
  plan.memory_bytes = int64_t{64} << 30;
  lab.submit("none", {plan});
  EXPECT_THAT(out_of_reach(lab.shadow, "none"), ElementsAre(HasSubstr("stage 'a' waits for a node")));
  lab.add_node("n1", {.cores = 4, .memory_bytes = int64_t{8} << 30});
  lab.add_node("n2", {.cores = 2, .memory_bytes = int64_t{16} << 30});
  spec::StagePlan other = plan, fits = small("c");
  other.name = "b";
  lab.submit("large", {plan, other, fits});
  EXPECT_THAT(out_of_reach(lab.shadow, "large"),
              ElementsAre("stage 'a' (and 1 more like it) needs 1 rank of 1 core, 65536 MiB, and the nodes that are "
                          "there now hold none of them, even when idle; the largest is n2 with 2 cores, 0 GPUs, "
                          "16384 MiB; it waits for a node that can (gridquant nodes list)"));
  fits.gang_ranks = fits.gang_min_ranks = 7;
  lab.submit("wide", {fits});
  EXPECT_THAT(out_of_reach(lab.shadow, "wide"), ElementsAre(HasSubstr("hold only 6 ranks, even when idle")));
  fits.gang_min_ranks = 6;
  lab.step(DrainRequested{"n1", true});
  lab.submit("busy", {fits});
  lab.submit("waits", {fits});
  EXPECT_THAT(out_of_reach(lab.shadow, "waits"), IsEmpty()) << "it waits for others only";
  lab.step(QueueRequested{"default", {.cores = 3}});
  EXPECT_THAT(out_of_reach(lab.shadow, "waits"), ElementsAre(HasSubstr("more than the whole quota of 3 of queue")));
  EXPECT_THAT(out_of_reach(lab.shadow, "nobody"), IsEmpty());
}

}  // namespace
}  // namespace gridquant::sched
