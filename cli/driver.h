// Carries out one run in this process: the scheduler's core, the agent's core and the processes, in one thread.
//
// The order is always: inputs -> records -> durable in the store -> told to the output -> actions.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/run_output.h"
#include "coordinator/sched/scheduler.h"
#include "coordinator/store/stage_key.h"
#include "coordinator/store/state_store.h"
#include "engine/base/clock.h"
#include "engine/base/env.h"
#include "engine/base/status.h"
#include "node/agent/agent_core.h"
#include "node/daemon/worker_story.h"
#include "node/launch/launcher.h"

namespace gridquant::cli {

struct DriverOptions {
  std::string workdir;  // absolute
  std::string worker;   // path of gridquant-worker
  std::string mpirun;   // path; needed by stages of several ranks
  int threads = 0;      // of each stage; 0: what resources.cores says, else all
  int cores = 1;        // of this machine
  int64_t memory_bytes = 0;
  std::vector<int> keep_fds;  // the work folder's lock
  int64_t stop_grace_ms = 10'000;
};

// Where interruptions come from.
class InterruptSource {
 public:
  virtual ~InterruptSource() = default;
  virtual int wake_fd() const = 0;  // readable when there is one; -1: never
  virtual int take() = 0;           // how many came since the last call
};

class RunDriver {
 public:
  struct Seams {
    base::Env& env;
    base::Clock& clock;
    store::StateStore& store;
    node::Launcher& launcher;
    RunOutput& output;
    InterruptSource& interrupts;
  };
  RunDriver(const Seams& seams, DriverOptions options);

  // Submits the run and returns when it is over and every process is gone. An error: the store could not be written;
  // all processes have been killed.
  Status drive(const sched::RunSubmitted& submitted, const std::map<std::string, store::StageKey>& keys);

  const sched::Run& run() const { return *scheduler_.find_run(run_id_); }
  std::string artifact_of(const std::string& stage) const;  // its folder
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Worker {  // one running attempt
    std::string stage;
    node::WorkerStory story;
  };

  int64_t now_ms() const;
  int gang_ranks(const std::string& stage) const { return run().stages[run().index.at(stage)].plan.gang_ranks; }
  Status settle();  // all waiting inputs: step, commit, tell, act
  Status commit(const std::vector<sched::Record>& records);
  void tell(const sched::Record& record);
  void act(const sched::FindArtifact& action);
  void act(const sched::StartAttempt& action);
  void act(const sched::StopAttempt& action);
  void act(const sched::RunEnded& action);
  void act(const sched::SyncNode&) {}  // the one node is this process
  void act(const sched::Answer&) {}    // nothing here is asked for with an id
  void agent_step(const node::AgentInput& input);
  void effect(const node::LaunchProcess& effect);
  void effect(const node::SignalProcess& effect);
  void effect(const node::ReportStarted& effect);
  void effect(const node::ReportFinished& effect);
  void on_line(uint64_t epoch, const std::string& line);
  void on_interrupts();
  void on_timers();
  int wait_ms() const;
  Status write_task(const sched::StartAttempt& action);
  void keep_warnings(const std::string& stage, const std::vector<std::string>& warnings);
  void recall_warnings(const std::string& stage);
  void kill_all();

  Seams seams_;
  DriverOptions options_;
  sched::Scheduler scheduler_;
  node::AgentCore agent_;
  std::string run_id_;
  std::map<std::string, store::StageKey> keys_;
  std::deque<sched::Input> inputs_;
  std::map<uint64_t, Worker> workers_;
  std::vector<std::string> warnings_;
  int64_t wall_minus_monotonic_ms_ = 0;
  bool ended_ = false;
  bool cancelling_ = false;
};

}  // namespace gridquant::cli
