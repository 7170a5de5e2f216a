// What the scheduler remembers of runs, stages, attempts, leases and nodes: plain data, changed by records only.
// What follows from it and is kept only to be fast stands in index.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/sched/index.h"
#include "coordinator/spec/pipeline.h"

namespace gridquant::sched {

enum class StageState { kPending, kLooking, kReady, kRunning, kWaiting, kSucceeded, kFailed, kSkipped, kCancelled };
// Of what a succeeded run made, into its output folder.
enum class Delivery { kNone, kPending, kDone, kFailed };
enum class RunState { kQueued, kRunning, kCancelling, kSucceeded, kFailed, kCancelled, kInterrupted };

const char* name_of(StageState state);  // "pending", "looking", ...
const char* name_of(RunState state);
bool is_over(StageState state);  // succeeded, failed, skipped, cancelled: no transition leaves it but stage_reset
bool is_over(RunState state);

struct Attempt {
  int number = 1;      // 1, 2, ... of the stage
  uint64_t epoch = 0;  // unique in the whole state; what results are checked against
  std::string node;    // of its first rank
  int ranks = 1;
  Tick granted_ms = 0, started_ms = 0, finished_ms = 0;  // 0: not yet
  int64_t pid = 0;
  std::string stopping;  // "", "cancelled", "timeout", "deadline", "drained", "start": why it was asked to stop
  std::string outcome;   // "" while it runs; succeeded | failed | retry | remake | cancelled | interrupted
  int exit_code = 0;
  std::string error_code;  // name of the absl code, if the worker named one
  std::string message;
};

// What one node gives to an attempt. It is held until the node says that nothing of the attempt is left on it.
struct Member {
  enum class State { kGranted, kStarted, kGone, kDirty };  // dirty: tear-down could not be verified; quarantined
  std::string node;
  uint64_t session = 0;  // of the node's agent, when it was granted; 0: the embedded node
  int ranks = 1;
  int cores = 0;
  int64_t memory_bytes = 0;
  uint64_t gpus = 0;  // bit i: GPU i
  State state = State::kGranted;
};

// The slots of one attempt: from its grant until every member is gone, which may be long after its outcome is known.
struct Lease {
  std::string run;
  size_t stage = 0;
  std::vector<Member> members;  // the first one starts the worker
  std::string stopping;         // why its processes must end; "" while they may run
  int64_t grace_ms = 0;
  std::string fresh{};  // see Stage::fresh_order
  bool embedded() const { return !members.empty() && members[0].session == 0; }
};

struct Stage {
  spec::StagePlan plan;
  std::string key;
  nlohmann::json cache_note;   // what the driver found out about the key: which component differs, see store
  std::vector<size_t> needs;   // indices into Run::stages
  std::vector<size_t> inputs;  // likewise: the stages whose artifacts are read
  StageState state = StageState::kPending;
  std::string reason;   // why it is in this state, for people
  bool cached = false;  // succeeded by finding an artifact
  bool fresh = false;   // what lies in the artifact folder is not to be used: the next attempt gives an order
  // "": attempts go on with what is there; else what was there before the order is thrown away, by the first of its
  // attempts that gets so far (stages::start_fresh), and those after it go on with what that one has made.
  std::string fresh_order{};
  int infrastructure_failures = 0;
  int node_losses = 0;  // a budget of its own: the stage did nothing wrong
  int drains = 0;
  int remakes = 0;
  Tick since_ms = 0;       // of this state
  Tick queued_ms = 0;      // when it could first start: its place in the queue, kept over retries
  Tick not_before_ms = 0;  // waiting: when to try again
  Tick deadline_ms = 0;    // running: when the attempt times out; 0 never
  nlohmann::json summary = nlohmann::json::object();
  std::vector<Attempt> attempts;
  StageLinks links;  // derived
};

struct Run {
  std::string id;
  uint64_t number = 0;      // in order of submission
  spec::Pipeline pipeline;  // `stages` is moved into the stages below
  nlohmann::json options;   // of the caller; the scheduler does not look inside
  bool use_cache = true;
  std::string batch;     // "" or the Batch that it belongs to
  std::string retry_of;  // "" or the run that it repeats
  RunState state = RunState::kRunning;
  bool paused = false;     // nothing new starts
  bool timed_out = false;  // it is being cancelled because its deadline has passed
  std::string reason;
  Tick created_ms = 0, started_ms = 0, finished_ms = 0;
  Delivery delivery = Delivery::kNone;  // pending from its success on
  std::string delivery_error;
  uint64_t events = 0;  // records of this run so far: the last one's Record::seq
  std::vector<Stage> stages;
  std::map<std::string, size_t> index;  // name -> position in stages
  size_t open_stages = 0;               // derived: stages that are not over
  Tick timer_ms = 0;                    // derived: its own entry in Index::timers
};

struct Node {
  int cores = 1;
  int64_t memory_bytes = 0;
  int gpus = 0;  // at most 64
  std::map<std::string, std::string> labels;
  uint64_t session = 0;  // epoch given to its agent; 0: embedded, without heartbeats
  std::string home;      // of its agent, see NodeReport
  int64_t boot = 0;      // of the agent's process; grows from one to the next of one home
  bool alive = true;
  bool leaving = false;  // its agent ends, see NodeReport
  bool draining = false;
  Tick drain_deadline_ms = 0;  // 0: none
  NodeUse used;                // derived
};

struct Queue {  // 0: no limit
  int cores = 0;
  int gpus = 0;
  int64_t memory_bytes = 0;
};

struct Batch {
  std::string name;
  std::vector<std::string> runs;  // in the order in which they start
  int max_parallel = 0;           // 0: no limit
  bool fail_fast = false;
};

// What a request with an id did: a second one with the same id gets the same answer.
struct Request {
  std::string digest;  // of its content
  std::string result;
};

inline constexpr size_t kMaxRequests = 10'000;  // the oldest is forgotten first

struct State {
  uint64_t last_epoch = 0;
  uint64_t last_run = 0;
  uint64_t incarnation = 0;  // epoch of this coordinator's start; 0: embedded
  std::map<std::string, Run> runs;
  std::map<std::string, Node> nodes;
  std::map<uint64_t, Lease> leases;  // by epoch
  std::map<std::string, Queue> queues;
  std::map<std::string, Batch> batches;
  std::map<std::string, Request> requests;
  std::deque<std::string> request_order;
  Index index;  // derived
};

// Canonical: equal states give equal text; what is derived is left out.
std::string to_text(const State& state);
// The same as a number, without making the text. Two halves of 64 bits: to compare states, not against forgery.
std::string digest_of(const State& state);

}  // namespace gridquant::sched
