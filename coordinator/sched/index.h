// What follows from the state and is kept beside it so that a decision's cost does not grow with the number of
// stages. Kept up to date by apply(); never in a record, never in the digest.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gridquant::sched {

using Tick = int64_t;  // milliseconds; the caller's clock, never going back

struct StageRef {
  std::string run;
  size_t stage = 0;
  auto operator<=>(const StageRef&) const = default;
};

// A ready stage's place: see place.cc for the rule.
struct Place {
  Tick order = 0;
  uint64_t run_number = 0;
  StageRef ref;
  auto operator<=>(const Place&) const = default;
};

struct StageLinks {
  std::vector<size_t> dependents;  // stages of the run that need it or read it
  size_t open = 0;                 // needs and inputs that are not over
  std::string shape;               // queue and resources: stages of one shape fit or do not fit together
  Tick timer_ms = 0;               // its entry in Index::timers; 0: none
  bool placed = false;             // whether it stands in Index::ready
  bool needed = false;             // whether it counts in Index::needed
  Tick order = 0;                  // then: where
  std::vector<uint64_t> leases;    // that still hold something, this attempt's and older ones'
};

struct NodeUse {
  int cores = 0;
  int64_t memory_bytes = 0;
  uint64_t gpus = 0;
  std::set<uint64_t> leases;
};

struct KeyUse {
  std::set<StageRef> makers;   // looking for it, or about to make it, or making it
  std::set<StageRef> waiting;  // pending until the makers are through
};

struct QueueUse {
  int cores = 0;
  int gpus = 0;
  int64_t memory_bytes = 0;
};

// The limits that places and timers follow from.
struct Timing {
  Tick aging_ms = 300'000;         // how long a wait makes up for one level of priority
  Tick shrink_after_ms = 30'000;   // a gang waits this long for all its ranks before it takes fewer
  Tick start_timeout_ms = 60'000;  // all members of a gang must run by then
};

struct Index {
  Timing timing;
  std::set<StageRef> settle;                     // pending stages to look at
  std::map<std::string, KeyUse> keys;            // artifact key -> who is at it
  // artifact key -> how many stages have it that succeeded, in runs that go on or wait for delivery: not to be emptied
  std::map<std::string, size_t> needed;
  std::map<std::string, std::set<Place>> ready;  // shape -> stages that may be placed
  std::set<std::pair<Tick, StageRef>> timers;
  std::set<std::string> ended;      // runs all of whose stages are over
  std::set<std::string> open_runs;  // not over
  std::map<std::string, QueueUse> queues;
};

}  // namespace gridquant::sched
