// The scheduler: decides which stage of which run starts where and when, what a failure leads to, and when a run is
// over. A pure state machine: no thread, clock, file or socket; the caller brings inputs and the time, persists the
// records, and only then performs the actions. state = replay(records).
//
// One thread owns it. Every input is idempotent: a second one, or one of an older epoch, changes nothing and says so
// in `refused`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/sched/record.h"
#include "coordinator/sched/state.h"
#include "engine/base/status.h"

namespace gridquant::sched {

// ---- inputs

struct RunSubmitted {
  std::string run;
  spec::Pipeline pipeline;
  std::map<std::string, std::string> keys;  // stage -> key of its artifact
  std::map<std::string, nlohmann::json> cache_notes;
  nlohmann::json options;
  bool use_cache = true;
};
struct ArtifactFound {  // the answer to FindArtifact
  std::string run, stage, key;
  nlohmann::json summary;
};
struct ArtifactMissing {
  std::string run, stage, key;
};
struct AttemptStarted {
  std::string run, stage;
  uint64_t epoch = 0;
  int64_t pid = 0;
};
struct AttemptFinished {
  std::string run, stage;
  uint64_t epoch = 0;
  int exit_code = 0;
  FailureClass failure = FailureClass::kInfrastructure;  // if exit_code is not 0
  std::string error_code{}, message{};
  nlohmann::json summary = nlohmann::json::object();  // of the artifact, if exit_code is 0
  std::vector<std::string> corrupt_inputs{};          // kCorruption: stages whose artifact differs from its digest
};
struct CancelRequested {
  std::string run, reason;
  bool force = false;  // no grace: kill at once
};
struct NodeChanged {
  std::string node;
  int cores = 1;
  int64_t memory_bytes = 0;
  bool alive = true;
};
struct TimerFired {};  // time has passed: see next_timer_ms()
struct Restarted {};   // after replay(): asks again for every action whose effect is not recorded
struct RunAbandoned {  // nobody carries the run on: its attempts are gone
  std::string run, reason;
};
using Input = std::variant<RunSubmitted, ArtifactFound, ArtifactMissing, AttemptStarted, AttemptFinished,
                           CancelRequested, NodeChanged, TimerFired, Restarted, RunAbandoned>;

// ---- actions

struct FindArtifact {
  std::string run, stage, key;
};
struct StartAttempt {
  std::string run, stage, node;
  int number = 1;
  uint64_t epoch = 0;
  bool fresh = false;  // empty the artifact folder first
  int cores = 0;       // 0: all
};
struct StopAttempt {
  std::string run, stage, node;
  uint64_t epoch = 0;
  int64_t grace_ms = 0;  // between TERM and KILL; 0: KILL at once
};
struct RunEnded {
  std::string run;
  RunState state = RunState::kSucceeded;
};
using Action = std::variant<FindArtifact, StartAttempt, StopAttempt, RunEnded>;

struct StepResult {
  std::vector<Record> records;  // to be made durable first
  std::vector<Action> actions;  // to be performed then
  std::string refused;          // why the input changed nothing, if it was refused
};

struct Limits {
  int64_t stop_grace_ms = 10'000;
  int max_remakes = 2;  // times that a stage is run again because stored bytes were corrupt
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
  std::string digest() const;
  const State& state() const { return state_; }
  const Run* find_run(const std::string& run) const;  // null if unknown

  // When step(TimerFired) is due next: a back-off or a time-out. Nothing: never.
  std::optional<Tick> next_timer_ms() const;

 private:
  friend class Step;
  ConditionFn condition_;
  Limits limits_;
  State state_;
};

}  // namespace gridquant::sched
