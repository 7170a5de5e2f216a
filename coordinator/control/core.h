// The owner of the scheduler and its store: one thread calls turn() again and again (see control.h); any thread posts.
//
// A turn takes everything that was posted since the last one, steps the scheduler through it, makes all records durable
// in one transaction, and only then answers, tells nodes and watchers, and starts what was decided (group commit). When
// the store fails, nothing is answered but that error, and the core is at its end: this process must end too, the next
// one replays what is on disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "coordinator/control/assign.h"
#include "coordinator/control/delivery.h"
#include "coordinator/control/executor.h"
#include "coordinator/control/watch.h"
#include "coordinator/sched/scheduler.h"
#include "coordinator/store/state_store.h"
#include "engine/base/clock.h"
#include "engine/base/env.h"

namespace gridquant::control {

// What a request came to: what it made (an id, or ""), or why it was refused. On the owner's thread: must not block.
using Done = std::function<void(const StatusOr<std::string>& result)>;

// Where a node's desired states go. Called on the owner's thread: must not block.
class NodeSink {
 public:
  virtual ~NodeSink() = default;
  virtual void desired(AssignedState state) = 0;
};

struct View {  // what is durable now
  const sched::Scheduler& scheduler;
  store::StateStore& store;
  int64_t now_ms = 0;
  const std::map<std::string, int64_t>& heard_ms;  // node -> when this process heard of it last; else absent
  // Not OK: the core is at its end and this may be ahead of what is durable: do not tell.
  Status ended{};
};

struct CoreOptions {
  std::string store;             // folder that holds artifacts/; the same on all nodes
  std::string store_id, secret;  // see AssignOptions
  uint64_t last_run = 0;  // see sched::Restarted
  sched::Limits limits{};
  size_t inbox = 20'000;  // inputs that wait for a turn; more are refused
};

class Core {
 public:
  struct Seams {
    base::Env& env;
    base::Clock& clock;
    store::StateStore& store;
    Executor& executor;
  };
  Core(const Seams& seams, CoreOptions options);
  // First of all: replays the store's records and begins an incarnation. DataLoss if they do not follow from each
  // other.
  Status recover();

  // ---- any thread. ResourceExhausted: too much waits, try again; Unavailable: the core is at its end. Then `done` and
  // the like are not called.
  Status post(sched::Input input, Done done);
  // A node's report; when it is taken, what is decided for the node goes to `sink` from now on.
  Status report(sched::NodeReport report, std::shared_ptr<NodeSink> sink, Done done);
  void hang_up(const std::string& node, const NodeSink* sink);  // its session has ended
  Status look(std::function<void(const View&)> with);
  Status watch(uint64_t id, WatchCall call);
  void drop_watch(uint64_t id);
  void note(Note note);  // may be dropped
  uint64_t next_id();
  void wake();  // wait() returns

  // ---- the owner's thread
  Status turn();
  void wait();                   // until something is posted, a timer is due, or wake()
  void stop(const Status& why);  // what waits is answered with it; what comes later is refused with it
  const sched::Scheduler& scheduler() const { return scheduler_; }
  size_t replayed() const { return replayed_; }

 private:
  struct Request {
    sched::Input input;
    Done done;
    std::shared_ptr<NodeSink> sink{};
  };
  struct Look {
    std::function<void(const View&)> with;
  };
  struct Asked {
    uint64_t id = 0;
    WatchCall call;
  };
  struct Dropped {
    uint64_t id = 0;
  };
  struct HungUp {
    std::string node;
    const NodeSink* sink = nullptr;
  };
  using Item = std::variant<Request, Look, Asked, Dropped, HungUp, Note>;
  struct Group {  // of one turn
    std::vector<sched::Record> records;
    std::vector<sched::Action> actions;
    std::vector<std::pair<Done, StatusOr<std::string>>> answers;
    std::vector<std::string> noted;  // runs
  };

  enum class Room { kAlways, kFull, kHalf };  // how full the inbox may be
  Status put(Item item, Room room = Room::kFull);
  int64_t now_ms() const;
  void step(Request& request, Group& group);
  void take(Item& item, Group& group, std::vector<Item>& later);
  void refuse(std::vector<Item>& items, const Status& why);  // whoever waits for an answer gets that one
  Status commit(const Group& group);
  void publish(Group& group);
  void act(const sched::FindArtifact& action);
  void act(const sched::RunEnded& action);
  void act(const sched::SyncNode& action);
  void act(const sched::StartAttempt&) {}  // of an embedded node: there is none here
  void act(const sched::StopAttempt&) {}
  void act(const sched::Answer&) {}  // see Group::answers
  bool has_items() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !inbox_.empty() || woken_; }

  Seams seams_;
  CoreOptions options_;
  sched::Scheduler scheduler_;
  Watch watch_;
  DeliveryLines deliveries_;
  std::map<std::string, std::shared_ptr<NodeSink>> sinks_;
  std::map<std::string, int64_t> heard_ms_;
  int64_t wall_minus_monotonic_ms_ = 0;
  size_t replayed_ = 0;

  absl::Mutex mutex_;
  std::vector<Item> inbox_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  Status ended_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gridquant::control
