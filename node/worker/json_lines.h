// What a worker tells: one JSON object per line on standard output, and nothing else there.
//
//   {"event":"progress","done":3,"total":6,"unit":"block","message":"quantizing"}
//   {"event":"note","message":"..."}  {"event":"warning","message":"..."}
//   {"event":"heartbeat","rank":1,"progress":42}   of each rank, at most once a second, while its work advances
//   {"event":"error","code":"InvalidArgument","message":"..."}   before a non-zero exit
//
// Of several ranks the first one tells how the stage goes; all have heartbeats; an error is told by the rank that has
// it, or by the first one where all ranks agreed on it.
#pragma once

#include <atomic>
#include <string_view>
#include <thread>

#include <nlohmann/json.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/status.h"
#include "stages/context.h"

namespace gridquant::worker {

// Thread-safe.
class JsonLines final : public stages::ProgressSink {
 public:
  void progress(int64_t done, int64_t total, std::string_view unit, std::string_view message) override;
  void note(std::string_view message) override;
  void warning(std::string_view message) override;
  void heartbeat(int64_t progress);
  void error(const Status& status);

  // Before other threads use it. Ranks other than 0 are silent but for heartbeats and errors.
  void set_rank(int rank) { rank_ = rank; }

 private:
  void write(const nlohmann::json& event);
  int rank_ = 0;
  absl::Mutex mutex_;
};

// Calls beat with a number that grows while this process works: once a second, and not where it has not grown. What
// counts is processor time, `waits` (a rank that waits for others is alive), and calls into the system's files, also
// while one goes on, but not for ever. A stopped process has none of these.
class Heartbeat {
 public:
  struct Times {
    int64_t beat_ms = 1'000;
    int64_t longest_file_call_ms = 600'000;  // longer, and nothing else moves: it hangs
  };
  Heartbeat(JsonLines& lines, const std::atomic<int64_t>& waits) : Heartbeat(lines, waits, Times()) {}
  Heartbeat(JsonLines& lines, const std::atomic<int64_t>& waits, Times times);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  void run();
  JsonLines& lines_;
  const std::atomic<int64_t>& waits_;
  const Times times_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace gridquant::worker
