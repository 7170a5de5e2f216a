// How a run is shown: lines, bars, JSON, times; and the driver with nothing real behind it but the scheduler.
#include "cli/run_output.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/driver.h"
#include "coordinator/store/workdir.h"
#include "node/launch/memory_launcher.h"
#include "stages/task.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

TEST(OutputTest, SecondsReadWell) {
  EXPECT_EQ(show_seconds(0), "0.0 s");
  EXPECT_EQ(show_seconds(9.94), "9.9 s");
  EXPECT_EQ(show_seconds(9.96), "10 s");
  EXPECT_EQ(show_seconds(59.6), "1 min 00 s");
  EXPECT_EQ(show_seconds(3599.6), "1 h 00 min");
  EXPECT_EQ(show_seconds(7860), "2 h 11 min");
}

TEST(OutputTest, TheRateCountsFromWhereTheStageStarted) {
  Rate rate;
  EXPECT_LT(rate.seconds_left(10, 0), 0);
  rate.update(4, "", 1'000);  // resumed at 4 of 10
  EXPECT_LT(rate.seconds_left(10, 2'000), 0) << "nothing done yet";
  rate.update(6, "", 3'000);
  EXPECT_DOUBLE_EQ(rate.seconds_left(10, 3'000), 4);
  EXPECT_DOUBLE_EQ(rate.seconds_left(10, 3'500), 3.5) << "it counts down";
  EXPECT_DOUBLE_EQ(rate.seconds_left(10, 60'000), 0);
  rate.update(6, "something else", 3'000);
  EXPECT_LT(rate.seconds_left(10, 4'000), 0);
}

TEST(OutputTest, PlainLinesAreFew) {
  std::ostringstream err;
  const auto output = make_plain_output(err);
  output->run_started("p-1", "p", {"analyze", "plan"});
  for (int i = 0; i <= 100; ++i) {
    output->tick(10'000 + 30 * i);  // three seconds
    output->progress({"plan", i, 100, "step", ""});
  }
  std::istringstream lines(err.str());
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) count += line.find("step ") != std::string::npos ? 1 : 0;
  EXPECT_EQ(count, 3);
  EXPECT_THAT(err.str(), HasSubstr("plan     step 34/100, 2.0 s left"));
  EXPECT_THAT(err.str(), Not(HasSubstr("\x1b")));
}

TEST(OutputTest, BarsAreRedrawnInPlaceAndGoAway) {
  std::ostringstream err;
  auto output = make_bar_output(err);
  output->run_started("p-1", "p", {"plan"});
  StageChange change;
  change.stage = "plan";
  change.state = "running";
  output->stage_changed(change);
  output->tick(1'000);
  output->progress({"plan", 5, 10, "step", "thinking"});
  output->tick(2'000);
  EXPECT_THAT(err.str(), HasSubstr("[############------------]  50 %  step 5/10, thinking"));
  output->tick(3'000);
  EXPECT_THAT(err.str(), HasSubstr("\x1b[1A\x1b[0J"));
  change.state = "succeeded";
  change.seconds = 2;
  output->stage_changed(change);
  output->tick(4'000);
  const std::string end = err.str().substr(err.str().rfind("plan"));
  EXPECT_EQ(end, "plan  done in 2.0 s\n");
}

// ---- the driver

class NoInterrupts final : public InterruptSource {
 public:
  int wake_fd() const override { return -1; }
  int take() override { return std::exchange(pending, 0); }
  int pending = 0;
};

// Ends every process that the driver starts, the way the test wants.
class PuppetLauncher final : public node::Launcher {
 public:
  PuppetLauncher(base::Env& env, base::ManualClock& clock) : env_(env), clock_(clock) {}

  StatusOr<int64_t> start(uint64_t id, const node::LaunchSpec& spec) override {
    const auto task = stages::read_task(env_, spec.argv.at(2));
    EXPECT_TRUE(task.ok()) << task.status();
    tasks.push_back(*task);
    if (exit_codes.empty()) {
      stages::Artifact artifact{.uses = task->uses, .key = task->key, .summary = {{"n", tasks.size()}}, .files = {}};
      EXPECT_TRUE(stages::commit_artifact(env_, task->artifact, artifact).ok());
      inner_.start(id, spec).IgnoreError();
      inner_.exit(id, 0);
    } else {
      inner_.start(id, spec).IgnoreError();
      inner_.print(id, R"({"event": "error", "code": "Unavailable", "message": "puppet"})");
      inner_.exit(id, exit_codes.front());
      exit_codes.erase(exit_codes.begin());
    }
    return static_cast<int64_t>(id);
  }
  void signal(uint64_t id, node::Signal signal) override { inner_.signal(id, signal); }
  void write_log(uint64_t id, std::string_view line) override { inner_.write_log(id, line); }
  std::vector<node::ProcessEvent> wait(int timeout_ms, int wake_fd) override {
    clock_.advance_ms(std::max(timeout_ms, 1));
    return inner_.wait(timeout_ms, wake_fd);
  }

  std::vector<int> exit_codes;
  std::vector<stages::Task> tasks;

 private:
  base::Env& env_;
  base::ManualClock& clock_;
  node::MemoryLauncher inner_;
};

class FullStore final : public store::StateStore {  // whose disk is full from the n-th commit on
 public:
  Status commit(const store::Batch& batch) override {
    if (commits-- <= 0) return absl::ResourceExhaustedError("state.db: disk full");
    return inner_->commit(batch);
  }
  StatusOr<std::vector<std::string>> records(const std::string& run) override { return inner_->records(run); }
  StatusOr<std::vector<std::string>> records(const std::string& run, uint64_t after, size_t most) override {
    return inner_->records(run, after, most);
  }
  Status each_record(const std::function<Status(const std::string& text)>& each) override {
    return inner_->each_record(each);
  }
  StatusOr<std::vector<store::RunRow>> runs() override { return inner_->runs(); }
  StatusOr<std::optional<store::ArtifactRow>> latest_artifact(const std::string& stage,
                                                              const std::string& uses) override {
    return inner_->latest_artifact(stage, uses);
  }
  int commits = 1'000'000;

 private:
  std::unique_ptr<store::StateStore> inner_ = store::make_memory_store();
};

class DriverTest : public testing::Test {
 protected:
  DriverTest() {
    submitted_.run = "p-1";
    submitted_.pipeline.name = "p";
    submitted_.options = json::object();
    for (const char* name : {"a", "b"}) {
      spec::StagePlan stage;
      stage.name = stage.uses = name;
      stage.with = json::object();
      submitted_.pipeline.stages.push_back(stage);
      keys_[name] = store::StageKey{std::string(64, *name), {{"uses", name}}};
      submitted_.keys[name] = keys_[name].key;
    }
    submitted_.pipeline.stages[1].needs = {"a"};
    submitted_.pipeline.stages[1].inputs = {{"a", "a"}};
  }

  Status drive() {
    DriverOptions options;
    options.workdir = "/w";
    options.worker = "/worker";
    options.cores = 2;
    options.memory_bytes = 1 << 20;
    driver_ =
        std::make_unique<RunDriver>(RunDriver::Seams{*env_, clock_, store_, launcher_, *output_, interrupts_}, options);
    return driver_->drive(submitted_, keys_);
  }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  base::ManualClock clock_;
  FullStore store_;
  PuppetLauncher launcher_{*env_, clock_};
  NoInterrupts interrupts_;
  std::ostringstream out_;
  std::unique_ptr<RunOutput> output_ = make_json_output(out_);
  sched::RunSubmitted submitted_;
  std::map<std::string, store::StageKey> keys_;
  std::unique_ptr<RunDriver> driver_;
};

TEST_F(DriverTest, InputsOfATaskAreTheArtifactsOfItsNeeds) {
  ASSERT_TRUE(drive().ok());
  EXPECT_EQ(driver_->run().state, sched::RunState::kSucceeded);
  ASSERT_EQ(launcher_.tasks.size(), 2u);
  EXPECT_EQ(launcher_.tasks[0].artifact, store::artifact_folder("/w", "a", keys_["a"].key));
  EXPECT_EQ(launcher_.tasks[1].inputs.at("a"), launcher_.tasks[0].artifact);
  EXPECT_EQ(driver_->run().stages[1].summary["n"], 2);
  EXPECT_EQ((*store_.latest_artifact("b", "b"))->run, "p-1");
}

TEST_F(DriverTest, BackoffPassesWithTheClock) {
  launcher_.exit_codes = {132, 137};
  ASSERT_TRUE(drive().ok());
  EXPECT_EQ(driver_->run().state, sched::RunState::kSucceeded);
  EXPECT_EQ(driver_->run().stages[0].attempts.size(), 3u);
  EXPECT_EQ(launcher_.tasks[0].artifact, launcher_.tasks[2].artifact) << "a retry goes on in the same folder";
  EXPECT_GE(clock_.monotonic_ms(), 15'000) << "5 s and 10 s";
}

TEST_F(DriverTest, WhatIsStoredReplaysToWhatWasDone) {
  launcher_.exit_codes = {132};
  ASSERT_TRUE(drive().ok());
  std::vector<sched::Record> records;
  const auto texts = store_.records("p-1");
  ASSERT_TRUE(texts.ok());
  for (const std::string& text : *texts) {
    records.push_back(*sched::record_from_json(json::parse(text)));
  }
  const auto replayed = sched::Scheduler::replay(records, nullptr);
  ASSERT_TRUE(replayed.ok());
  sched::State wanted, got;
  wanted.runs["p-1"] = driver_->run();
  got.runs["p-1"] = *replayed->find_run("p-1");
  EXPECT_EQ(to_text(got), to_text(wanted));
}

class FullDiskTest : public DriverTest, public testing::WithParamInterface<int> {};

TEST_P(FullDiskTest, NothingStartsThatTheStoreDoesNotKnowOf) {
  store_.commits = GetParam();
  const Status status = drive();
  ASSERT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the run's state cannot be saved"));
  const auto texts = store_.records("p-1");
  ASSERT_TRUE(texts.ok());
  size_t granted = 0;
  for (const std::string& text : *texts) granted += text.find("attempt_granted") != std::string::npos ? 1 : 0;
  EXPECT_EQ(launcher_.tasks.size(), granted);
}

INSTANTIATE_TEST_SUITE_P(Commits, FullDiskTest, testing::Range(0, 6));

TEST_F(DriverTest, AWorkerThatLeavesNoResultIsAFault) {
  launcher_.exit_codes = {0};
  ASSERT_TRUE(drive().ok());
  EXPECT_EQ(driver_->run().state, sched::RunState::kFailed);
  EXPECT_THAT(driver_->run().stages[0].reason, HasSubstr("its result is not there"));
  EXPECT_EQ(driver_->run().stages[1].state, sched::StageState::kSkipped);
}

TEST_F(DriverTest, AnInterruptBeforeAnythingHappenedCancels) {
  launcher_.exit_codes = {132, 132, 132};
  interrupts_.pending = 1;
  ASSERT_TRUE(drive().ok());
  EXPECT_EQ(driver_->run().state, sched::RunState::kCancelled);
}

}  // namespace
}  // namespace gridquant::cli
