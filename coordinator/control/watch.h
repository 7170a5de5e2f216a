// Who waits for what comes next of a run: events (durable, numbered) and notes (what workers say now; not kept).
// Pull, not push: a slow watcher asks later and misses nothing of the events; memory does not grow with it.
// Owned by the scheduler's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "coordinator/sched/record.h"
#include "coordinator/sched/scheduler.h"
#include "coordinator/store/state_store.h"

namespace gridquant::control {

struct Note {  // progress, a warning or a note of an attempt's worker
  std::string run, stage;
  uint64_t epoch = 0;
  int attempt = 0;
  int64_t done = 0, total = 0;
  std::string unit, message;
  std::string kind;      // "progress", "warning", "note"
  uint64_t version = 0;  // grows; given by Watch
};

struct WatchPage {
  std::vector<sched::Record> records;  // in order, without gaps, after what was asked for
  std::vector<Note> notes;             // newer than what was asked for; older ones of the same kind are left out
  uint64_t notes_version = 0;          // what to ask for next
  bool over = false;                   // there is no more, and none will come
};

struct WatchCall {
  std::string run;
  uint64_t after = 0;                                    // sequence number of the last event that the caller has
  uint64_t after_notes = 0;                              // WatchPage::notes_version of the last page
  bool wait = true;                                      // for what has not happened yet
  std::function<void(const StatusOr<WatchPage>&)> done;  // called once, unless the call is dropped
};

class Watch {
 public:
  static constexpr size_t kPageRecords = 256;
  static constexpr size_t kMaxMessages = 200;  // warnings and notes kept per run

  // Answers now or later. `id` is the caller's, for drop().
  void ask(uint64_t id, WatchCall call, const sched::Scheduler& scheduler, store::StateStore& store);
  void drop(uint64_t id);
  void note(Note note);
  // Something of the run has become durable, or was noted: answers who waits for it.
  void touched(const std::string& run, const sched::Scheduler& scheduler, store::StateStore& store);
  void forget(const std::string& run) { notes_.erase(run); }
  void fail_all(const Status& status);
  size_t waiting() const { return calls_.size(); }

 private:
  struct Notes {
    std::map<std::string, Note> progress;  // by stage
    std::deque<Note> messages;
  };
  bool answer(const WatchCall& call, const sched::Scheduler& scheduler, store::StateStore& store) const;

  std::map<uint64_t, WatchCall> calls_;
  std::map<std::string, Notes> notes_;
  uint64_t version_ = 0;
};

}  // namespace gridquant::control
