// The invariants, checked from the outside: from records, actions, processes and the disk, not by the scheduler's own
// words. Numbers are those of "The scheduler under simulation" in the design; I1, I2, I7 those of its fault campaigns.
#pragma once

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "coordinator/sched/scheduler.h"

namespace gridquant::sim {

class Violation : public std::runtime_error {
 public:
  Violation(std::string rule, const std::string& text)
      : std::runtime_error(rule + ": " + text), rule_(std::move(rule)) {}
  const std::string& rule() const { return rule_; }  // "1" ... "7", "I1", "I2", "I7", "liveness"

 private:
  std::string rule_;
};

// What every stage of key `key` makes, whoever makes it.
std::string content_of(const std::string& key);

class Checks {
 public:
  // One step of the scheduler; `records` as they go to the disk.
  void stepped(const sched::Scheduler& scheduler, const std::vector<sched::Record>& records);
  void durable(const std::vector<sched::Record>& records);
  void performed(const sched::Action& action, size_t step_of_action);  // steps are counted in this incarnation
  void durable_steps(size_t count) { durable_steps_ = count; }
  void recovered(const sched::Scheduler& scheduler);  // after a crash, from the disk
  bool committed(const std::string& key) const { return committed_.count(key) != 0; }
  const std::set<std::string>& acknowledged() const { return acknowledged_; }
  void crashed();  // what was not durable is forgotten

 private:
  struct Task {  // a stage, by the records
    uint64_t epoch = 0;
    bool running = false;
    int attempts = 0;
    int64_t last_wait[2] = {0, 0};  // by budget: infrastructure, node
  };
  void record(const sched::Record& record);
  void finished(const sched::Record& record, Task& task, const std::string& key);
  void deleted(const sched::Record& record);
  void slots(const sched::State& state) const;

  sched::State shadow_;          // by the records of every step
  sched::State durable_shadow_;  // by those on the disk
  std::map<std::pair<std::string, std::string>, Task> tasks_;
  std::map<std::string, uint64_t> seq_;
  std::set<std::string> committed_;
  std::set<std::string> acknowledged_;
  std::map<std::string, sched::RunState> ended_;
  std::set<std::string> deleted_;  // runs, and batches with all of theirs
  size_t durable_steps_ = 0;
};

}  // namespace gridquant::sim
