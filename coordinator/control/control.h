// The control plane without its network: the state's lock and store, and the thread that owns the scheduler.
// Thread-safe after open().
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "coordinator/control/core.h"
#include "coordinator/control/garbage.h"
#include "coordinator/control/log_store.h"
#include "coordinator/control/submit_flow.h"
#include "coordinator/store/workdir.h"

namespace gridquant::control {

struct ControlOptions {
  std::string workdir;  // absolute: the state
  std::string store;    // absolute: artifacts, seen by all nodes; may be the same folder
  std::string version;  // of gridquant
  Machine own{};        // this machine
  sched::Limits limits{};
};

class Control {
 public:
  explicit Control(ControlOptions options);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  // Locks both folders, opens the state, replays it, begins an incarnation. FailedPrecondition: another coordinator, or
  // a gridquant run, has one of the folders.
  Status open(base::Clock& clock);
  // Starts the owner's thread. `on_failure` is called on it when the state cannot be saved: the process has to end.
  void start(std::function<void(const Status&)> on_failure);
  // Ends it; everything that waits is answered with Unavailable. What runs on nodes goes on.
  void stop();

  Core& core() { return *core_; }
  SubmitFlow& submissions() { return *submissions_; }
  GarbageCalls& garbage() { return *garbage_; }
  LogStore& logs() { return logs_; }
  Executor& executor() { return *executor_; }
  const ControlOptions& options() const { return options_; }

 private:
  void loop();

  const ControlOptions options_;
  base::Env& env_ = base::posix_env();
  LogStore logs_;
  std::unique_ptr<store::WorkdirLock> state_lock_, store_lock_;
  std::unique_ptr<store::StateStore> store_;
  std::unique_ptr<Core> core_;
  std::unique_ptr<SubmitFlow> submissions_;
  std::unique_ptr<GarbageCalls> garbage_;
  std::unique_ptr<Executor> executor_;  // goes first: its work posts to the others
  std::function<void(const Status&)> on_failure_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace gridquant::control
