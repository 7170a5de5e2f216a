// The node agent's core: which attempts should run on this machine, which processes do, and what to do about the
// difference. A pure state machine: no process, thread, clock or file; the caller brings inputs and the time and
// performs the effects. Every input may come twice.
//
// One process per attempt; the attempt's epoch names it. Stopping is TERM, then KILL after the grace, then KILL again
// until the process is gone: a slot is free only when its process is verified gone.
//
// | state       | input             | next state  | effects                             |
// | (none)      | start             | launching   | launch                              |
// | (none)      | start, no room    | (finished)  | report finished: refused            |
// | (none)      | stop              | (finished)  | report finished: cancelled          |
// | (finished)  | start, stop       | (finished)  | report finished again               |
// | launching   | started           | running     | report started                      |
// | launching   | start failed      | (finished)  | report finished: I/O error          |
// | launching   | stop              | terminating | (signals once it has started)       |
// | running     | stop, grace > 0   | terminating | TERM                                |
// | running     | stop, grace = 0   | killing     | KILL                                |
// | terminating | stop, grace = 0   | killing     | KILL                                |
// | terminating | timer after grace | killing     | KILL                                |
// | killing     | timer             | killing     | KILL again                          |
// | any         | exited            | (finished)  | report finished with its exit code  |
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace gridquant::node {

using Tick = int64_t;  // milliseconds

struct StartRequested {
  uint64_t epoch = 0;
};
struct StopRequested {
  uint64_t epoch = 0;
  int64_t grace_ms = 0;
};
struct ProcessStarted {
  uint64_t epoch = 0;
  int64_t pid = 0;
};
struct StartFailed {
  uint64_t epoch = 0;
  std::string message;
};
struct ProcessExited {  // and is verified gone, with its whole process group
  uint64_t epoch = 0;
  int exit_code = 0;  // 128 + signal, if one ended it
};
struct TimerFired {};
using AgentInput = std::variant<StartRequested, StopRequested, ProcessStarted, StartFailed, ProcessExited, TimerFired>;

struct LaunchProcess {
  uint64_t epoch = 0;
};
struct SignalProcess {
  uint64_t epoch = 0;
  bool kill = false;  // SIGKILL, else SIGTERM; to the process group
};
struct ReportStarted {
  uint64_t epoch = 0;
  int64_t pid = 0;
};
struct ReportFinished {
  uint64_t epoch = 0;
  int exit_code = 0;
  std::string message;  // of the agent, if there was no process that could say anything
};
using AgentEffect = std::variant<LaunchProcess, SignalProcess, ReportStarted, ReportFinished>;

struct AgentLimits {
  int slots = 64;  // processes at once; the scheduler counts cores, this is a last wall
  int64_t kill_repeat_ms = 2'000;
  size_t remembered_finished = 1'000;
};

class AgentCore {
 public:
  explicit AgentCore(AgentLimits limits = {}) : limits_(limits) {}

  std::vector<AgentEffect> step(const AgentInput& input, Tick now_ms);

  size_t running() const { return attempts_.size(); }
  std::optional<Tick> next_timer_ms() const;  // when step(TimerFired) is due; nothing: never

 private:
  enum class State { kLaunching, kRunning, kTerminating, kKilling };
  struct Attempt {
    State state = State::kLaunching;
    bool started = false;
    int64_t grace_ms = 0;
    Tick signal_at_ms = 0;  // terminating, killing: when to send KILL (again)
  };
  using Effects = std::vector<AgentEffect>;

  void handle(const StartRequested& input, Tick now_ms, Effects& effects);
  void handle(const StopRequested& input, Tick now_ms, Effects& effects);
  void handle(const ProcessStarted& input, Tick now_ms, Effects& effects);
  void handle(const StartFailed& input, Tick now_ms, Effects& effects);
  void handle(const ProcessExited& input, Tick now_ms, Effects& effects);
  void handle(const TimerFired& input, Tick now_ms, Effects& effects);
  void send_stop(uint64_t epoch, Attempt& attempt, Tick now_ms, Effects& effects);
  void finish(uint64_t epoch, int exit_code, std::string message, Effects& effects);
  bool report_again(uint64_t epoch, Effects& effects) const;

  AgentLimits limits_;
  std::map<uint64_t, Attempt> attempts_;
  std::deque<ReportFinished> finished_;
};

}  // namespace gridquant::node
