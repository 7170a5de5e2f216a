// A node's agent towards the coordinator: desired state in, full state out. Pure, like AgentCore, on which it stands:
// the caller delivers messages, performs the effects and sends report() every few seconds and after every change.
//
// - Desired states that are for another agent process, or older than the last one, are ignored: a coordinator of an
//   older incarnation can start and stop nothing.
// - An attempt that the desired state does not list is ended, and forgotten when nothing of it is left.
// - An ended one is reported with its epoch until the desired state does not list it any more, so its end is on disk.
// - The coordinator's silence or restart changes nothing: what runs goes on.
// - On a gang's member that is not its head, the process is the daemon that the head's mpirun asks for: the caller says
//   ProcessStarted and ProcessExited of it. Its own end is the head's matter; asked to stop, it is killed when the
//   grace is over, for mpirun ends it in order before.
// - What an earlier agent process left behind (`leftovers`) is killed and reported until it is gone.
// - An attempt that had GPUs has ended when its processes are gone and its GPUs' memory is free. What cannot be ended
//   within verify_ms is reported as dirty: its slot stays taken.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/sched/sync.h"
#include "node/agent/agent_core.h"

namespace gridquant::node {

struct LaunchAttempt {  // start the worker (mpirun for several ranks); answer with ProcessStarted or StartFailed
  sched::DesiredAttempt attempt;
};
struct VerifyDevices {  // are these GPUs' memories free? answer with DevicesVerified
  uint64_t epoch = 0;
  uint64_t gpus = 0;
};
struct SendReport {};  // something changed that the coordinator waits for
using SessionEffect = std::variant<LaunchAttempt, SignalProcess, VerifyDevices, SendReport>;

struct DevicesVerified {
  uint64_t epoch = 0;
  bool free = false;
};
// What the worker left, for one of exit code 0, or what it said of its failure. Comes before ProcessExited.
struct WorkerResult {
  uint64_t epoch = 0;
  std::string error_code{}, message{};
  nlohmann::json summary = nlohmann::json::object();
  std::vector<std::string> corrupt_inputs{};
};
// The caller saw that the attempt cannot go on (a rank shows no sign of life): it is killed, and ends with this.
struct AttemptBroken {
  uint64_t epoch = 0;
  int exit_code = 0;
  std::string message;
};
// The agent's process is about to end: everything is stopped, nothing new starts.
struct ShutDown {
  int64_t grace_ms = 0;
};
using SessionInput = std::variant<sched::DesiredState, ProcessStarted, StartFailed, ProcessExited, WorkerResult,
                                  DevicesVerified, TimerFired, AttemptBroken, ShutDown>;

struct SessionLimits {
  AgentLimits agent{};
  int64_t verify_ms = 60'000;       // from the wish to end it: then it is dirty
  int64_t verify_again_ms = 1'000;  // between two looks at the GPUs
};

class AgentSession {
 public:
  // `boot` is greater than that of every earlier agent process of this node.
  AgentSession(std::string node, int64_t boot, sched::Inventory inventory, const std::vector<uint64_t>& leftovers,
               SessionLimits limits = {});

  std::vector<SessionEffect> step(const SessionInput& input, Tick now_ms);
  sched::NodeReport report();  // the full state as it is now; numbers the reports
  std::optional<Tick> next_timer_ms() const;
  size_t running() const { return core_.running(); }
  bool knows(uint64_t epoch) const { return attempts_.count(epoch) != 0; }
  // Whether this node lends slots to the attempt now: then the head's mpirun may start its daemon here.
  bool has_live_lease(uint64_t epoch) const;

 private:
  struct Attempt {
    sched::DesiredAttempt desired{};
    sched::Phase phase = sched::Phase::kLaunching;
    bool leftover = false;
    Tick stop_asked_ms = -1;  // when its end was first wished for
    Tick look_again_ms = -1;  // at the GPUs; -1: not now
    Tick kill_at_ms = -1;     // a daemon that is left to mpirun until then; -1: none
    bool has_process = false;
    std::optional<AttemptBroken> broken{};
    sched::AttemptReport report{};
  };
  using Effects = std::vector<SessionEffect>;

  void handle(const sched::DesiredState& input, Tick now_ms, Effects& effects);
  void handle(const ProcessStarted& input, Tick now_ms, Effects& effects);
  void handle(const StartFailed& input, Tick now_ms, Effects& effects);
  void handle(const ProcessExited& input, Tick now_ms, Effects& effects);
  void handle(const WorkerResult& input, Tick now_ms, Effects& effects);
  void handle(const DevicesVerified& input, Tick now_ms, Effects& effects);
  void handle(const TimerFired& input, Tick now_ms, Effects& effects);
  void handle(const AttemptBroken& input, Tick now_ms, Effects& effects);
  void handle(const ShutDown& input, Tick now_ms, Effects& effects);
  void begin(const sched::DesiredAttempt& desired, Tick now_ms, Effects& effects);
  void stop(uint64_t epoch, Attempt& attempt, int64_t grace_ms, Tick now_ms, Effects& effects);
  void core_step(const AgentInput& input, Tick now_ms, Effects& effects);
  void ended(uint64_t epoch, int exit_code, const std::string& message, Tick now_ms, Effects& effects);

  std::string node_;
  int64_t boot_;
  sched::Inventory inventory_;
  SessionLimits limits_;
  AgentCore core_;
  uint64_t session_ = 0;
  uint64_t seq_ = 0;
  bool closing_ = false;
  sched::Revision applied_{};
  std::map<uint64_t, Attempt> attempts_;
};

}  // namespace gridquant::node
