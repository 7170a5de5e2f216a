// What a worker says while it runs, and what its end means: shared by the node's agent and `gridquant run`.
//
// A worker prints JSON lines (node/worker/worker_main.cc says which); of a gang all ranks' lines come through mpirun.
// Not thread-safe; no process, only the files that the worker left.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::node {

struct WorkerEvent {
  enum class Kind { kProgress, kNote, kWarning, kError, kHeartbeat };
  Kind kind = Kind::kNote;
  int rank = 0;
  int64_t done = 0, total = 0;  // kProgress
  std::string unit{}, message{};
  std::string code{};  // kError: name of the absl code
};

// Nothing: the line is no event, a library printed it: it belongs to the log.
std::optional<WorkerEvent> parse_worker_event(const std::string& line);
const char* name_of(WorkerEvent::Kind kind);  // "progress", "note", ...
// How it stands in the log; progress and heartbeats do not.
std::string log_line(const WorkerEvent& event);

// What is remembered of one attempt.
struct WorkerStory {
  std::string error_code{}, message{};  // of the rank that failed by itself, not of those that lost it
  std::vector<std::string> warnings{};
  void add(const WorkerEvent& event);
};

struct EndedWorker {
  int exit_code = 0;
  bool gang = false;  // started by mpirun, whose own exit codes mean nothing to us
  std::string artifact{}, key{}, log_path{};
  std::map<std::string, std::string> inputs{};  // name -> artifact folder
};

struct WorkerOutcome {
  int exit_code = 0;
  std::string error_code{}, message{};
  nlohmann::json summary = nlohmann::json::object();  // exit code 0
  std::vector<std::string> corrupt_inputs{};          // class corruption: names of `inputs`
};

// Exit code 0 without the artifact is a failure. Reads all inputs with their digests if the worker said that stored
// bytes are wrong: slow.
WorkerOutcome judge(base::Env& env, const EndedWorker& ended, const WorkerStory& story);

}  // namespace gridquant::node
