// Removal of what no run refers to any more: artifacts, and logs of deleted runs. A folder that goes is first renamed
// away on the scheduler's thread, where no submission comes in between, then removed at leisure; what a killed process
// left half removed goes with the next call.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
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

using GarbageDone = std::function<void(const StatusOr<Garbage>&)>;

// Any thread; `done` is called once, on any thread. Runs of `gridquant run` in the same folder count as runs; what a
// worker makes just now stays, also if it was started by hand.
void collect_garbage(Core& core, base::Env& env, Executor& executor, GarbageOptions options, GarbageDone done);

// Calls with request ids: a second one with the id of one that goes on waits for its end, one of the last kRemembered
// that have ended is answered again. They are remembered by this process only: after a restart the call is carried out
// once more, which removes what nobody refers to, and nothing else, as the first one did. Thread-safe.
class GarbageCalls {
 public:
  static constexpr size_t kRemembered = 100;
  static constexpr size_t kMostAtOnce = 8;
  GarbageCalls(Core& core, base::Env& env, Executor& executor) : core_(core), env_(env), executor_(executor) {}

  // AlreadyExists: the id is that of a call with other options. ResourceExhausted: too many go on.
  void collect(const std::string& request, GarbageOptions options, GarbageDone done);

 private:
  struct Call {
    bool dry_run = false;
    int64_t min_age_ms = 0;
    std::vector<GarbageDone> waiting;
    std::optional<Garbage> garbage;  // when it has ended
  };
  void end(const std::string& request, const StatusOr<Garbage>& garbage);

  Core& core_;
  base::Env& env_;
  Executor& executor_;
  absl::Mutex mutex_;
  std::map<std::string, Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> ended_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gridquant::control
