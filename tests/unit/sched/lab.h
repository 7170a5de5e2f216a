// A scheduler with real agent sessions and no time between them, for tests: what is decided reaches the nodes at once,
// workers start at once and end when the test says so.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "coordinator/sched/scheduler.h"
#include "node/agent/agent_session.h"
#include "tests/unit/sched/world.h"

namespace gridquant::sched {

class Lab {
 public:
  explicit Lab(Limits limits = {}) : scheduler(simple_condition, limits) { step(Restarted{}); }

  void add_node(const std::string& name, Inventory inventory, int64_t boot = 1) {
    agents.erase(name);
    agents.emplace(name, node::AgentSession(name, boot, std::move(inventory), {}));
    report(name);  // is told its session
    report(name);
  }
  void report(const std::string& name) { step(agents.at(name).report()); }
  void beat() {  // all that are there
    for (const auto& [name, agent] : agents) {
      if (silent.count(name) == 0) report(name);
    }
  }
  void pass(int64_t ms) {
    for (const int64_t end = now + ms; now < end;) {
      now = std::min(end, now + 1'000);
      beat();
      for (auto& [name, agent] : agents) agent_step(name, node::TimerFired{});
      step(TimerFired{});
    }
  }
  StepResult step(const Input& input) {
    StepResult result = scheduler.step(input, now);
    for (const Record& record : result.records) {
      const Status applied = apply(shadow, record);
      EXPECT_TRUE(applied.ok()) << applied;
      records.push_back(record);
    }
    EXPECT_EQ(digest_of(shadow), scheduler.digest());
    refused = result.refused;
    for (const Action& action : result.actions) perform(action);
    if (!stepping_) deliver();
    return result;
  }
  void submit(const std::string& run, std::vector<spec::StagePlan> stages, const std::string& queue = "default",
              int priority = 0) {
    RunSubmitted input;
    input.run = run;
    for (const spec::StagePlan& plan : stages) input.keys[plan.name] = run + "-" + plan.name;
    input.pipeline = pipeline(std::move(stages));
    input.pipeline.queue = queue;
    input.pipeline.priority = priority;
    input.options = nlohmann::json::object();
    step(input);
  }
  // Ends the worker of a stage's attempt.
  void end(const std::string& run, const std::string& name, int exit_code = 0) {
    const Attempt attempt = at(run, name).attempts.back();
    agent_step(attempt.node, node::ProcessExited{attempt.epoch, exit_code});
  }
  const Stage& at(const std::string& run, const std::string& name) const {
    const Run* of = scheduler.find_run(run);
    return of->stages[of->index.at(name)];
  }
  std::string state(const std::string& run, const std::string& name) const { return name_of(at(run, name).state); }
  std::string state(const std::string& run) const { return name_of(scheduler.find_run(run)->state); }
  std::string why(const std::string& run, const std::string& name) const { return *explain(scheduler, run, name, now); }
  void agent_step(const std::string& name, const node::SessionInput& input) {
    for (const node::SessionEffect& effect : agents.at(name).step(input, now)) {
      if (const auto* launch = std::get_if<node::LaunchAttempt>(&effect)) {
        launched.push_back(launch->attempt);
        agent_step(name, node::ProcessStarted{launch->attempt.epoch, 77});
      } else if (const auto* kill = std::get_if<node::SignalProcess>(&effect)) {
        if (obedient) agent_step(name, node::ProcessExited{kill->epoch, kill->kill ? 137 : 143});
      } else if (const auto* verify = std::get_if<node::VerifyDevices>(&effect)) {
        agent_step(name, node::DevicesVerified{verify->epoch, devices_free});
      } else if (silent.count(name) == 0) {
        pending_.push_back(agents.at(name).report());
      }
    }
    if (!stepping_) deliver();
  }

  Scheduler scheduler;
  State shadow;
  Tick now = 1'000;
  std::map<std::string, node::AgentSession> agents;
  std::set<std::string> silent;  // neither hear nor are heard
  std::vector<Record> records;
  std::vector<DesiredAttempt> launched;
  std::vector<Answer> answers;
  std::string refused;
  bool obedient = true, devices_free = true;

 private:
  void perform(const Action& action) {
    if (const auto* find = std::get_if<FindArtifact>(&action)) {
      pending_.push_back(made.count(find->key) != 0 ? Input{ArtifactFound{find->run, find->stage, find->key, {}}}
                                                    : Input{ArtifactMissing{find->run, find->stage, find->key}});
    } else if (const auto* sync = std::get_if<SyncNode>(&action)) {
      const std::string& name = sync->desired.node;
      if (agents.count(name) == 0 || silent.count(name) != 0) return;
      const bool outer = std::exchange(stepping_, true);
      agent_step(name, sync->desired);
      stepping_ = outer;
    } else if (const auto* answer = std::get_if<Answer>(&action)) {
      answers.push_back(*answer);
    }
  }
  void deliver() {
    stepping_ = true;
    while (!pending_.empty()) {
      const Input input = pending_.front();
      pending_.pop_front();
      const std::string kept = refused;
      step(input);
      refused = kept;
    }
    stepping_ = false;
  }

  std::deque<Input> pending_;
  bool stepping_ = false;

 public:
  std::set<std::string> made;  // keys of artifacts that are there
};

}  // namespace gridquant::sched
