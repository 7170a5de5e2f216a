#include "tests/sim/checks.h"

#include <algorithm>

namespace gridquant::sim {

using sched::Record;
using sched::RecordType;

std::string content_of(const std::string& key) {
  return "content of " + key;
}

void Checks::stepped(const sched::Scheduler& scheduler, const std::vector<Record>& records) {
  for (const Record& one : records) {
    const Status applied = apply(shadow_, one);
    if (!applied.ok()) throw Violation("5", std::string(applied.message()));
    record(one);
  }
  if (digest_of(shadow_) != scheduler.digest()) throw Violation("5", "the records do not lead to the state");
  slots(scheduler.state());
  for (const auto& [run, state] : ended_) {
    const sched::Run* found = scheduler.find_run(run);
    if (found != nullptr && found->state != state) throw Violation("I2", "run " + run + " has ended, and changed");
  }
}

void Checks::record(const Record& record) {
  Task& task = tasks_[{record.run, record.stage}];
  switch (record.type) {
    case RecordType::kAttemptGranted: {
      if (task.running) throw Violation("1", "two current attempts of " + record.run + "/" + record.stage);
      const uint64_t epoch = record.body.at("epoch").get<uint64_t>();
      if (epoch <= task.epoch) throw Violation("1", "epochs of " + record.stage + " do not grow");
      task.epoch = epoch;
      task.running = true;
      if (++task.attempts > 40) throw Violation("6", "attempts of " + record.stage + " without bound");
      const sched::Run& run = shadow_.runs.at(record.run);
      const sched::Stage& stage = run.stages[run.index.at(record.stage)];
      int ranks = 0;
      for (const auto& member : record.body.at("members")) ranks += member.at("ranks").get<int>();
      if (ranks > stage.plan.gang_ranks || ranks < stage.plan.gang_min_ranks) {
        throw Violation("2", "a gang of " + std::to_string(ranks) + " ranks for " + record.stage);
      }
      for (const size_t input : stage.inputs) {
        const sched::Stage& from = run.stages[input];
        if (from.state != sched::StageState::kSucceeded || from.summary.value("content", "") != content_of(from.key)) {
          throw Violation("3", record.stage + " starts without its input " + from.plan.name);
        }
      }
      break;
    }
    case RecordType::kAttemptFinished: {
      const sched::Run& run = shadow_.runs.at(record.run);
      finished(record, task, run.stages[run.index.at(record.stage)].key);
      break;
    }
    default:
      break;
  }
}

void Checks::finished(const Record& record, Task& task, const std::string& key) {
  const uint64_t epoch = record.body.at("epoch").get<uint64_t>();
  const std::string outcome = record.body.value("outcome", "");
  if (!task.running || epoch != task.epoch) throw Violation("1", "an end of another attempt of " + record.stage);
  task.running = false;
  if (outcome == "succeeded") {
    const auto& summary = record.body.at("summary");
    if (summary.value("epoch", uint64_t{0}) != epoch) {
      throw Violation("4", "the result of attempt " + std::to_string(summary.value("epoch", uint64_t{0})) +
                               " counts for attempt " + std::to_string(epoch) + " of " + record.stage);
    }
    if (summary.value("content", "") != content_of(key)) throw Violation("4", "another content of " + key);
  }
  const std::string budget = record.body.value("budget", "infrastructure");
  if (outcome != "retry" || budget == "drain") return;
  int64_t& last = task.last_wait[budget == "node" ? 1 : 0];
  const int64_t wait = record.body.value("notBeforeMs", int64_t{0}) - record.at_ms;
  if (wait < last) throw Violation("6", "the pause before " + record.stage + " shrinks");
  last = wait;
}

void Checks::slots(const sched::State& state) const {
  struct Held {
    int cores = 0;
    uint64_t gpus = 0;
  };
  std::map<std::string, Held> held;
  for (const auto& [epoch, lease] : state.leases) {
    for (const sched::Member& member : lease.members) {
      if (member.state == sched::Member::State::kGone) continue;
      Held& of = held[member.node];
      if ((of.gpus & member.gpus) != 0) throw Violation("2", "a GPU of " + member.node + " is given twice");
      of.gpus |= member.gpus;
      of.cores += member.cores;
      if (of.cores > state.nodes.at(member.node).cores)
        throw Violation("2", "cores of " + member.node + " given twice");
    }
  }
}

void Checks::durable(const std::vector<Record>& records) {
  for (const Record& one : records) {
    if (!apply(durable_shadow_, one).ok()) throw Violation("5", "a durable record does not follow");
    if (!one.run.empty() && one.type != RecordType::kRunDeleted && one.seq != ++seq_[one.run]) {
      throw Violation("I7", "run " + one.run + ": event " + std::to_string(one.seq) + " is not the next one");
    }
    if (one.type == RecordType::kRunDeleted) deleted(one);
    if (one.type == RecordType::kAttemptFinished && one.body.value("outcome", "") == "succeeded") {
      const sched::Run& run = durable_shadow_.runs.at(one.run);
      committed_.insert(run.stages[run.index.at(one.stage)].key);
    }
  }
}

void Checks::deleted(const Record& record) {
  deleted_.insert(record.run);
  const std::string batch = record.body.value("batch", "");
  if (!batch.empty() && durable_shadow_.batches.count(batch) == 0) deleted_.insert(batch);
}

void Checks::performed(const sched::Action& action, size_t step_of_action) {
  if (step_of_action >= durable_steps_) throw Violation("7", "an action before its records are durable");
  if (const auto* answer = std::get_if<sched::Answer>(&action); answer != nullptr && answer->error.empty()) {
    if (!answer->result.empty()) acknowledged_.insert(answer->result);
  }
  if (const auto* ended = std::get_if<sched::RunEnded>(&action)) ended_.emplace(ended->run, ended->state);
}

void Checks::recovered(const sched::Scheduler& scheduler) {
  if (scheduler.digest() != digest_of(durable_shadow_)) throw Violation("5", "replay gives another state");
  for (const std::string& id : acknowledged_) {
    const bool there = scheduler.find_run(id) != nullptr || scheduler.state().batches.count(id) != 0;
    if (!there && deleted_.count(id) == 0) throw Violation("I1", "the acknowledged " + id + " is lost");
  }
  for (const auto& [run, state] : ended_) {
    const sched::Run* found = scheduler.find_run(run);
    if (deleted_.count(run) != 0 && found != nullptr) throw Violation("I2", "run " + run + " was deleted, and is back");
    if (deleted_.count(run) != 0) continue;
    if (found == nullptr || found->state != state) throw Violation("I2", "run " + run + " has ended, and changed");
  }
}

// Back to what the disk has: tasks are read off the recovered state.
void Checks::crashed() {
  shadow_ = durable_shadow_;
  for (auto& [name, task] : tasks_) {
    const auto run = shadow_.runs.find(name.first);
    if (run == shadow_.runs.end() || run->second.index.count(name.second) == 0) {
      task = Task{};
      continue;
    }
    const sched::Stage& stage = run->second.stages[run->second.index.at(name.second)];
    task.running = stage.state == sched::StageState::kRunning;
    task.epoch = stage.attempts.empty() ? 0 : stage.attempts.back().epoch;
    task.attempts = static_cast<int>(stage.attempts.size());
    task.last_wait[0] = task.last_wait[1] = 0;
  }
}

}  // namespace gridquant::sim
