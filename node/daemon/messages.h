// What the agent's thread and the threads of the network tell each other: plain data, an inbox that never blocks, and
// the seam to the coordinator.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/sched/sync.h"
#include "engine/base/status.h"
#include "node/daemon/log_relay.h"
#include "node/daemon/worker_story.h"

namespace gridquant::node {

// What the pure session need not know of a DesiredAttempt.
struct AttemptTask {
  std::string task_json{}, log_name{};   // of the head
  std::vector<std::string> addresses{};  // of the agents of DesiredAttempt::hosts, in their order
  std::string secret{};                  // of the lease
  std::string store{}, store_id{};       // see proto: DesiredAttempt
};

// ---- to the agent

struct Desired {
  sched::DesiredState state{};
  std::map<uint64_t, AttemptTask> tasks{};  // by epoch
};
struct LogAcknowledged {
  uint64_t epoch = 0;
  uint64_t offset = 0;
};
struct Connected {};  // a new stream to the coordinator
struct Displaced {    // the coordinator does not want this agent: another one has its place, or it is none
  std::string why{};
};

// The other end of a call that wants a gang's daemon run here. Its methods are called on the agent's thread, do not
// wait, and do nothing once the caller is gone.
class DaemonCall {
 public:
  virtual ~DaemonCall() = default;
  virtual void refused(const Status& status) = 0;
  virtual void started(int64_t pid) = 0;
  virtual void output(std::string bytes) = 0;
  virtual void ended(int exit_code) = 0;
};
struct DaemonRequested {
  uint64_t epoch = 0;
  std::string secret{};
  std::vector<std::string> arguments{};
  std::map<std::string, std::string> variables{};
  std::shared_ptr<DaemonCall> call{};
};
struct DaemonAbandoned {  // the caller is gone: its daemon must go
  std::shared_ptr<DaemonCall> call{};
};
struct Judged {  // see judge(): it can take long
  uint64_t epoch = 0;
  WorkerOutcome outcome{};
};
using Message = std::variant<Desired, LogAcknowledged, Connected, Displaced, DaemonRequested, DaemonAbandoned, Judged>;

// Thread-safe.
class Inbox {
 public:
  static constexpr size_t kCapacity = 10'000;
  Inbox();
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  bool push(Message message);  // false: full, it is lost
  std::vector<Message> take();
  int wake_fd() const { return fd_; }  // readable while there is something to take

 private:
  int fd_ = -1;
  absl::Mutex mutex_;
  std::deque<Message> messages_ ABSL_GUARDED_BY(mutex_);
};

// ---- to the coordinator

struct AttemptProgress {
  uint64_t epoch = 0;
  std::string run{}, stage{};
  WorkerEvent event{};
};

// Never waits. Without a connection everything is dropped: Connected makes the agent say it again.
class Uplink {
 public:
  virtual ~Uplink() = default;
  virtual void send(const sched::NodeReport& report) = 0;  // takes the place of one that is still waiting
  virtual void send(LogPiece piece) = 0;
  virtual void send(AttemptProgress progress) = 0;
};

}  // namespace gridquant::node
