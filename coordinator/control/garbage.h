// Removal of what no run refers to any more: artifacts, and logs of deleted runs. A folder that goes is first renamed
// away on the scheduler's thread, where no submission comes in between, then removed at leisure; what a killed process
// left half removed goes with the next call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/control/core.h"

namespace gridquant::control {

struct GarbageOptions {
  std::string workdir;             // of the logs
  std::string store;               // of the artifacts
  bool dry_run = false;            // only say what would go
  int64_t min_age_ms = 3'600'000;  // younger artifacts stay
};

struct Garbage {
  std::vector<std::string> removed;  // relative to their folder, sorted, at most kMaxNamed
  int64_t count = 0, bytes = 0;      // of all
};
inline constexpr size_t kMaxNamed = 10'000;

// Any thread; `done` is called once, on any thread. Runs of `gridquant run` in the same folder count as runs.
void collect_garbage(Core& core, base::Env& env, Executor& executor, GarbageOptions options,
                     std::function<void(const StatusOr<Garbage>&)> done);

}  // namespace gridquant::control
