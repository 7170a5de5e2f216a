// A scheduler with small pipelines for tests: checks after every step what must always hold, and keeps all records
// and actions.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "coordinator/sched/scheduler.h"

namespace gridquant::sched {

inline spec::StagePlan stage(const std::string& name, std::vector<std::string> needs = {},
                             std::vector<std::string> inputs = {}) {
  spec::StagePlan plan;
  plan.name = name;
  plan.uses = name;
  plan.needs = std::move(needs);
  for (const std::string& input : inputs) plan.inputs[input] = input;
  plan.with = nlohmann::json::object();
  plan.retry.initial_backoff_ms = 100;
  plan.retry.max_backoff_ms = 300;
  return plan;
}

inline spec::Pipeline pipeline(std::vector<spec::StagePlan> stages) {
  spec::Pipeline out;
  out.name = "p";
  out.params = {{"wanted", true}};
  out.stages = std::move(stages);
  return out;
}

// "true", "false", "stages.<name>.failed"; anything else does not evaluate.
inline StatusOr<bool> simple_condition(const std::string& expression, const nlohmann::json&,
                                       const nlohmann::json& stages) {
  if (expression == "true") return true;
  if (expression == "false") return false;
  if (expression.rfind("failed ", 0) == 0) return stages.at(expression.substr(7)).at("state") == "failed";
  return absl::InvalidArgumentError("not a condition: " + expression);
}

class World {
 public:
  explicit World(Limits limits = {}) : scheduler(simple_condition, limits) {}

  StepResult step(const Input& input) {
    const std::string before = thorough ? scheduler.digest() : "";
    StepResult result = scheduler.step(input, now);
    if (thorough && result.records.empty()) {
      EXPECT_EQ(scheduler.digest(), before) << "the state changed without a record";
    }
    if (!result.refused.empty()) ++refused;
    for (const Record& record : result.records) {
      records.push_back(record);
      EXPECT_TRUE(apply(replayed_, record).ok());
    }
    if (thorough) check_replay();
    for (const Action& action : result.actions) {
      if (const auto* start = std::get_if<StartAttempt>(&action)) check_start(*start);
      actions.push_back(action);
    }
    check_nodes();
    return result;
  }

  void submit(spec::Pipeline of, bool use_cache = true, const std::string& run = "r") {
    RunSubmitted submitted;
    submitted.run = run;
    for (const spec::StagePlan& plan : of.stages) submitted.keys[plan.name] = "key-" + plan.name;
    submitted.pipeline = std::move(of);
    submitted.use_cache = use_cache;
    submitted.options = nlohmann::json::object();
    step(submitted);
  }
  void add_node(int cores = 4, int64_t memory = 1 << 20) { step(NodeChanged{"n", cores, memory, true}); }

  // Answers every FindArtifact with "missing" until there is none.
  void answer_missing() {
    while (const FindArtifact* find = next<FindArtifact>()) {
      step(ArtifactMissing{std::string(find->run), std::string(find->stage), std::string(find->key)});
    }
  }
  void finish(const std::string& name, int exit_code = 0, const std::string& run = "r") {
    AttemptFinished finished{.run = run, .stage = name, .epoch = epoch(name, run)};
    finished.exit_code = exit_code;
    finished.failure = failure_class_for(exit_code);
    finished.message = exit_code == 0 ? "" : "exit " + std::to_string(exit_code);
    step(finished);
    answer_missing();
  }
  void pass(int64_t ms) {
    now += ms;
    step(TimerFired{});
    answer_missing();
  }

  const Stage& at(const std::string& name, const std::string& run = "r") const {
    const Run* of = scheduler.find_run(run);
    return of->stages[of->index.at(name)];
  }
  StageState state(const std::string& name, const std::string& run = "r") const { return at(name, run).state; }
  RunState run_state(const std::string& run = "r") const { return scheduler.find_run(run)->state; }
  uint64_t epoch(const std::string& name, const std::string& run = "r") const {
    return at(name, run).attempts.empty() ? 0 : at(name, run).attempts.back().epoch;
  }

  // The next action of a kind that was not taken before; null if there is none.
  template <typename T>
  const T* next() {
    for (size_t i = 0; i < actions.size(); ++i) {
      if (taken_.count(i) != 0) continue;
      if (const T* found = std::get_if<T>(&actions[i])) {
        taken_.insert(i);
        return found;
      }
    }
    return nullptr;
  }

  // By induction over the steps: replaying every prefix of the records that ends a step gives the same state.
  void check_replay() const { EXPECT_EQ(to_text(replayed_), to_text(scheduler.state())); }

 private:
  std::set<size_t> taken_;
  State replayed_;

  void check_start(const StartAttempt& start) {
    const Stage& of = at(start.stage, start.run);
    ASSERT_EQ(of.state, StageState::kRunning);
    ASSERT_EQ(of.attempts.back().epoch, start.epoch) << "only the current attempt starts";
    ASSERT_TRUE(epochs_.insert(start.epoch).second) << "an epoch was given twice";
    const Run* run = scheduler.find_run(start.run);
    for (const size_t input : of.inputs) ASSERT_EQ(run->stages[input].state, StageState::kSucceeded);
    bool granted = false;  // no action before its record
    for (const Record& record : records) {
      granted |= record.type == RecordType::kAttemptGranted && record.body.at("epoch") == start.epoch;
    }
    ASSERT_TRUE(granted);
  }

  void check_nodes() const {
    std::map<std::string, int> cores;
    std::map<std::string, int> keys;
    for (const auto& [id, run] : scheduler.state().runs) {
      for (const Stage& of : run.stages) {
        if (of.state != StageState::kRunning) continue;
        ASSERT_EQ(++keys[of.key], 1) << "two attempts write one artifact";
        const Node& node = scheduler.state().nodes.at(of.attempts.back().node);
        cores[of.attempts.back().node] += of.plan.cores == 0 ? node.cores : std::min(of.plan.cores, node.cores);
      }
    }
    for (const auto& [name, used] : cores) {
      const Node& node = scheduler.state().nodes.at(name);
      ASSERT_TRUE(!node.alive || used <= node.cores);
    }
  }

  std::set<uint64_t> epochs_;

 public:
  Scheduler scheduler;
  Tick now = 1'000;
  std::vector<Record> records;
  std::vector<Action> actions;
  int refused = 0;
  bool thorough = true;  // compares whole states after every step
};

}  // namespace gridquant::sched
