// A node's agent: the one thread that owns the session's state machine and the processes. It performs what the session
// wants: task files, workers and gangs, their lines, their end; and brings news of them to the coordinator.
//
// No network here: messages come through the inbox, and leave through the uplink. All work is done inside run().
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/env.h"
#include "engine/base/status.h"
#include "node/agent/agent_session.h"
#include "node/daemon/gang.h"
#include "node/daemon/log_relay.h"
#include "node/daemon/messages.h"
#include "node/daemon/node_files.h"
#include "node/daemon/rank_watch.h"
#include "node/launch/launcher.h"

namespace gridquant::node {

struct AgentOptions {
  std::string node{};  // its name
  sched::Inventory inventory{};
  std::string worker{};  // path of gridquant-worker
  std::string orted = "/usr/bin/orted";
  GangOptions gang{};  // shared_folder is filled in
  std::string shared_memory = "/dev/shm";
  int64_t heartbeat_ms = 1'000;
  int64_t shutdown_grace_ms = 10'000;
  RankWatchLimits watch{};
  SessionLimits session{};
};

class Agent {
 public:
  struct Seams {
    base::Env& env;
    base::Clock& clock;
    Launcher& launcher;
    Inbox& inbox;
    Uplink& uplink;
    NodeFiles& files;
  };
  Agent(const Seams& seams, AgentOptions options);
  ~Agent();

  // One turn of the loop: waits up to `max_wait_ms`, then does all that is due. False: it is over (after shut_down, or
  // Displaced), and nothing of it is left running.
  bool turn(int max_wait_ms);
  // Stops everything in order; called again: at once. turn() goes on until it is over.
  void shut_down();
  // Why the coordinator sent it away; OK if it did not.
  const Status& displaced() const { return displaced_; }

 private:
  struct Attempt {
    sched::DesiredAttempt desired{};
    AttemptTask task{};
    WorkerStory story{};
    std::string shared_folder{}, task_path{}, artifact{};
    std::map<std::string, std::string> inputs{};
    std::optional<RankWatch> watch{};
    bool runs = false;  // a process of ours
    bool lent = false;  // its daemon was asked for
    std::shared_ptr<DaemonCall> call{};
    bool gang() const { return desired.ranks > 1 || desired.hosts.size() > 1; }
    int ranks() const;  // of the whole gang
    std::string node_of(int rank) const;
  };

  void step(const SessionInput& input);
  void effect(const LaunchAttempt& effect);
  void effect(const SignalProcess& effect);
  void effect(const VerifyDevices& effect);
  void effect(const SendReport&) { report_due_ = true; }
  void receive(Desired& message);
  void receive(const LogAcknowledged& message);
  void receive(const Connected& message);
  void receive(const Displaced& message);
  void receive(const DaemonRequested& message);
  void receive(const DaemonAbandoned& message);
  void receive(const Judged& message);
  void on_line(uint64_t epoch, const std::string& line);
  void on_exit(uint64_t epoch, int exit_code);
  void on_timers();
  StatusOr<LaunchSpec> prepare(Attempt& attempt);
  Status check_store(const AttemptTask& task) const;
  Status prepare_folder(Attempt& attempt);
  Status read_task(Attempt& attempt);
  std::vector<std::string> variables(const Attempt& attempt) const;
  void finish(uint64_t epoch, const WorkerOutcome& outcome);
  Status admit(const DaemonRequested& request, LaunchSpec& spec);
  void look_at_leftovers();
  void look_at_ranks();
  void forget();
  void remove_folder(uint64_t epoch);
  void send_logs();
  int wait_ms(int max_wait_ms) const;
  int64_t now_ms() const { return seams_.clock.monotonic_ms(); }

  Seams seams_;
  AgentOptions options_;
  std::vector<uint64_t> leftovers_;
  AgentSession session_;
  LogRelay relay_;
  std::map<uint64_t, Attempt> attempts_;
  std::vector<std::jthread> judges_;
  Status displaced_ = absl::OkStatus();
  int shut_downs_ = 0;
  bool report_due_ = true;
  int64_t next_report_ms_ = 0, next_look_ms_ = 0, over_by_ms_ = 0;
};

}  // namespace gridquant::node
