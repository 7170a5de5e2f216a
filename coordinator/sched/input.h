// What goes into the scheduler, and what it wants done.
//
// An input with a `request` id changes something once, however often it comes, also while the first one's records are
// not durable yet: the second gets the same Answer, and no answer is given before all records up to it are durable.
// The same id with another content is refused.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/sched/record.h"
#include "coordinator/sched/state.h"
#include "coordinator/sched/sync.h"
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
  std::string request{};
  std::string request_content{};  // what two requests of one id must agree in; "": the pipeline, keys and options
};
struct BatchSubmitted {
  std::string batch, name;
  int max_parallel = 0;  // runs at a time; 0: no limit
  bool fail_fast = false;
  std::vector<RunSubmitted> runs;
  std::string request{};
  std::string request_content{};  // as a run's
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
  std::string request{};
};
struct PauseRequested {  // nothing new of the run starts; what runs goes on
  std::string run;
  bool paused = true;  // false: resume
  std::string request{};
};
struct RetryRequested {  // a new run of the same pipeline: what the old one finished is found by its keys
  std::string run, as;   // as: the new run's id
  std::string request{};
};
struct DeleteRequested {  // of a run that is over
  std::string run;
  std::string request{};
};
struct RunDelivered {  // a run that has succeeded: what it made was put where it was asked for, or could not be
  std::string run;
  std::string error;  // "": it was
};
struct DrainRequested {  // nothing new starts on the node
  std::string node;
  bool drain = true;        // false: undrain
  int64_t deadline_ms = 0;  // from now: then what still runs there is stopped, and starts elsewhere; 0: never
  std::string request{};
};
struct ForgetRequested {  // of a node that is lost: it is not listed any more, and what it held counts as gone
  std::string node;
  std::string request{};
};
struct QueueRequested {  // sets a queue's quota
  std::string queue;
  Queue quota{};
  std::string request{};
};
struct NodeChanged {  // the embedded node, which has no agent and no heartbeats
  std::string node;
  int cores = 1;
  int64_t memory_bytes = 0;
  bool alive = true;
};
struct TimerFired {};  // time has passed: see next_timer_ms()
// After replay(): begins an incarnation, gives every node a whole lease, and asks again for every action whose effect
// is not recorded.
struct Restarted {
  uint64_t first_epoch = 0;  // epochs of this incarnation are not below it: greater than any of a state that is gone
  uint64_t last_run = 0;     // numbers of runs are above it: others have given those up to it
};
struct RunAbandoned {  // nobody carries the run on: its attempts are gone
  std::string run, reason;
};
using Input =
    std::variant<RunSubmitted, ArtifactFound, ArtifactMissing, AttemptStarted, AttemptFinished, CancelRequested,
                 NodeChanged, TimerFired, Restarted, RunAbandoned, BatchSubmitted, PauseRequested, RetryRequested,
                 DeleteRequested, DrainRequested, ForgetRequested, QueueRequested, NodeReport, RunDelivered>;

// ---- actions

struct FindArtifact {
  std::string run, stage, key;
};
struct StartAttempt {  // on the embedded node
  std::string run, stage, node;
  int number = 1;
  uint64_t epoch = 0;
  std::string fresh{};  // "": goes on with what is there; else see Stage::fresh_order
  int cores = 0;        // 0: all
};
struct StopAttempt {  // likewise
  std::string run, stage, node;
  uint64_t epoch = 0;
  int64_t grace_ms = 0;  // between TERM and KILL; 0: KILL at once
};
struct RunEnded {  // succeeded: to be delivered; asked for again after a restart until RunDelivered is recorded
  std::string run;
  RunState state = RunState::kSucceeded;
};
struct SyncNode {  // tell the agent; `desired` is as of this step, so that nothing of a later one goes out early
  DesiredState desired;
};
struct Answer {  // to the request of this id
  std::string request;
  std::string result;                             // run_submitted, batch_submitted, retry: the id; else ""
  std::string error;                              // why it was refused; "" if it was not
  absl::StatusCode code = absl::StatusCode::kOk;  // of the error
};
using Action = std::variant<FindArtifact, StartAttempt, StopAttempt, RunEnded, SyncNode, Answer>;

}  // namespace gridquant::sched
