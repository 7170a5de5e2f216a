// The scheduler: decides which stage of which run starts where and when, what a failure leads to, and when a run is
// over. A pure state machine: no thread, clock, file or socket; the caller brings inputs and the time, persists the
// records, and only then performs the actions. state = replay(records).
//
// Group commit: the caller may step on while records are being made durable, and may put the records of many steps
// into one transaction; but the actions of a step are performed only when the records of that step and of all before
// it are durable. When they cannot be made durable, the caller stops: this object is ahead of its records then.
//
// One thread owns it. Every input is idempotent: a second one, or one of an older epoch, changes nothing and says so
// in `refused`.
//
// Three fencing epochs, all from one counter: of the coordinator's incarnation, of a node's session (one agent
// process), of a gang's attempt. What carries an older one than the current is refused.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/sched/input.h"

namespace gridquant::sched {

struct StepResult {
  std::vector<Record> records;                            // one transaction
  std::vector<Action> actions;                            // to be performed when they are durable
  std::string refused;                                    // why the input changed nothing, if it was refused
  absl::StatusCode refused_code = absl::StatusCode::kOk;  // then: NotFound, FailedPrecondition, ...
};

struct Limits {
  int64_t stop_grace_ms = 10'000;
  int max_remakes = 2;             // times that a stage is run again because stored bytes were corrupt
  int max_node_losses = 10;        // attempts of a stage that may be lost with their nodes
  size_t keep_runs = 0;            // of those that are over; the oldest ones are deleted. 0: all
  int64_t node_lease_ms = 10'000;  // a node that is silent for so long is lost
  // And for so much longer after a restart of the coordinator: agents look for it again at intervals of a second, and
  // gRPC tries to connect at such intervals too.
  int64_t node_return_ms = 4'000;
  // A stage that has waited so long keeps what stands behind it off the nodes, and out of the quota, that it needs.
  int64_t reserve_after_ms = 30'000;
  Timing timing{};
};

// The value of an `if:` expression; see spec::evaluate_condition.
using ConditionFn = std::function<StatusOr<bool>(const std::string& expression, const nlohmann::json& params,
                                                 const nlohmann::json& stages)>;

class Scheduler {
 public:
  explicit Scheduler(ConditionFn condition, Limits limits = {});

  StepResult step(const Input& input, Tick now_ms);

  // The scheduler that wrote `records`, at the moment after the last of them.
  static StatusOr<Scheduler> replay(std::span<const Record> records, ConditionFn condition, Limits limits = {});

  // Equal exactly when the states are equal (as far as 128 bits can tell).
  std::string digest() const { return digest_of(state_); }
  const State& state() const { return state_; }
  const Limits& limits() const { return limits_; }
  const Run* find_run(const std::string& run) const;  // null if unknown

  // When step(TimerFired) is due next: a back-off, a time-out, a lease's end. Nothing: never.
  std::optional<Tick> next_timer_ms() const;

 private:
  friend class Step;
  struct Heard {  // of a node, in this incarnation; not part of the state
    Tick at_ms = 0;
    uint64_t session = 0, seq = 0;
  };
  ConditionFn condition_;
  Limits limits_;
  State state_;
  std::map<std::string, Heard> heard_;
  uint64_t revision_ = 0;
  std::map<std::pair<std::string, uint64_t>, uint64_t> sent_;  // node, epoch -> the revision that listed it first
};

// What to say where `id` is no run.
std::string no_run(const State& state, const std::string& id);

// What the run asks for and no node that there is now can give, even when idle, or no quota of its queue: one sentence
// for each kind of stage. Empty: nothing. A node that joins, or a quota that is raised, may change it.
std::vector<std::string> out_of_reach(const State& state, const std::string& run);

// One sentence: why the stage is in the state that it is in, and, if it waits, what it needs, what is free and who is
// ahead of it. NotFound if there is no such run or stage.
StatusOr<std::string> explain(const Scheduler& scheduler, const std::string& run, const std::string& stage,
                              Tick now_ms);

}  // namespace gridquant::sched
