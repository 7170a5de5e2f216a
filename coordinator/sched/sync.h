// What a node's agent and the coordinator tell each other: the agent its whole state, the coordinator what that state
// should be. Level-triggered: any message may be lost, come twice or late; the next one says all that matters.
//
// Order: a report carries a number that grows within a session, a desired state a revision that grows within an
// incarnation of the coordinator; older ones than the last are ignored. An attempt that the desired state does not
// list must not run on the node: the agent ends it. A finished one stays in the reports until it is not listed any
// more: that is how the agent learns that its end is on disk. The head of a gang is told of its attempt when all other
// members have said that they know of theirs.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/status.h"

namespace gridquant::sched {

struct Revision {
  uint64_t incarnation = 0;
  uint64_t number = 0;
  auto operator<=>(const Revision&) const = default;
};

struct DesiredAttempt {
  uint64_t epoch = 0;
  std::string run{}, stage{};
  std::string key{};  // of the artifact that it makes
  int number = 1;
  bool head = true;        // this node starts the worker; the others lend it their slots
  std::string stopping{};  // "": it runs; else why it has to end
  int64_t grace_ms = 0;    // between TERM and KILL; 0: KILL at once
  int ranks = 1, cores = 0;
  int64_t memory_bytes = 0;
  uint64_t gpus = 0;                                 // bit i: GPU i
  std::vector<std::pair<std::string, int>> hosts{};  // head: node and ranks, of the whole gang
};

struct DesiredState {
  std::string node{};
  int64_t boot = 0;      // the agent process that it is meant for
  uint64_t session = 0;  // its session
  Revision revision{};
  std::vector<DesiredAttempt> attempts{};
};

enum class Phase { kLaunching, kRunning, kStopping, kFinished, kDirty };

struct AttemptReport {
  uint64_t epoch = 0;
  Phase phase = Phase::kLaunching;
  int64_t pid = 0;
  // kFinished: nothing of it is left on the node
  int exit_code = 0;
  std::string error_code{}, message{};
  nlohmann::json summary = nlohmann::json::object();
  std::vector<std::string> corrupt_inputs{};  // as the task names its inputs
};

struct Inventory {
  int cores = 1;
  int64_t memory_bytes = 0;
  int gpus = 0;  // at most 64
  std::map<std::string, std::string> labels{};
};

struct NodeReport {
  std::string node{};
  std::string home{};    // of the agent: names its work folder; two agents of one name differ in it. "": not told
  int64_t boot = 0;      // of the agent process; a later process of the node has a greater one
  uint64_t session = 0;  // 0: not told yet
  uint64_t seq = 0;      // 1, 2, ... within the session
  Revision applied{};    // the desired state that the agent has seen last
  Inventory inventory{};
  std::vector<AttemptReport> attempts{};
  bool leaving = false;  // the agent is ending in order: it starts nothing new, and stops what runs
};

}  // namespace gridquant::sched
