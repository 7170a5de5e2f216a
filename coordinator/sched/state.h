// What the scheduler remembers of runs, stages, attempts and nodes: plain data, changed by records only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/spec/pipeline.h"

namespace gridquant::sched {

using Tick = int64_t;  // milliseconds; the caller's clock, never going back

enum class StageState { kPending, kLooking, kReady, kRunning, kWaiting, kSucceeded, kFailed, kSkipped, kCancelled };
enum class RunState { kRunning, kCancelling, kSucceeded, kFailed, kCancelled, kInterrupted };

const char* name_of(StageState state);  // "pending", "looking", ...
const char* name_of(RunState state);
bool is_over(StageState state);  // succeeded, failed, skipped, cancelled: no transition leaves it but stage_reset
bool is_over(RunState state);

struct Attempt {
  int number = 1;      // 1, 2, ... of the stage
  uint64_t epoch = 0;  // unique in the whole state; what results are checked against
  std::string node;
  Tick granted_ms = 0, started_ms = 0, finished_ms = 0;  // 0: not yet
  int64_t pid = 0;
  std::string stopping;  // "", "cancelled", "timeout": why it was asked to stop
  std::string outcome;   // "" while it runs; succeeded | failed | retry | remake | cancelled | interrupted
  int exit_code = 0;
  std::string error_code;  // name of the absl code, if the worker named one
  std::string message;
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
  bool fresh = false;   // the next attempt throws away what lies in the artifact folder
  int infrastructure_failures = 0;
  int remakes = 0;
  Tick since_ms = 0;       // of this state
  Tick not_before_ms = 0;  // waiting: when to try again
  Tick deadline_ms = 0;    // running: when the attempt times out; 0 never
  nlohmann::json summary = nlohmann::json::object();
  std::vector<Attempt> attempts;
};

struct Run {
  std::string id;
  spec::Pipeline pipeline;  // `stages` is moved into the stages below
  nlohmann::json options;   // of the caller; the scheduler does not look inside
  bool use_cache = true;
  RunState state = RunState::kRunning;
  std::string reason;
  Tick created_ms = 0, finished_ms = 0;
  std::vector<Stage> stages;
  std::map<std::string, size_t> index;  // name -> position in stages
};

struct Node {
  int cores = 1;
  int64_t memory_bytes = 0;
  bool alive = true;
};

struct State {
  uint64_t last_epoch = 0;
  std::map<std::string, Run> runs;
  std::map<std::string, Node> nodes;
};

nlohmann::json to_json(const State& state);  // canonical: equal states give equal text

}  // namespace gridquant::sched
