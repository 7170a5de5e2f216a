// The agent's session: the difference between what should run and what does.
#include "node/agent/agent_session.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/base/status.h"

namespace gridquant::node {

using sched::Phase;

AgentSession::AgentSession(std::string node, int64_t boot, sched::Inventory inventory,
                           const std::vector<uint64_t>& leftovers, SessionLimits limits)
    : node_(std::move(node)), boot_(boot), inventory_(std::move(inventory)), limits_(limits), core_(limits.agent) {
  for (const uint64_t epoch : leftovers) {
    Attempt& attempt = attempts_[epoch];
    attempt.leftover = true;
    attempt.has_process = true;
    attempt.phase = Phase::kStopping;
    attempt.report.epoch = epoch;
    attempt.desired.epoch = epoch;
    core_.step(StartRequested{epoch}, 0);
    core_.step(ProcessStarted{epoch, 0}, 0);
  }
}

std::vector<SessionEffect> AgentSession::step(const SessionInput& input, Tick now_ms) {
  Effects effects;
  std::visit([&](const auto& value) { handle(value, now_ms, effects); }, input);
  return effects;
}

sched::NodeReport AgentSession::report() {
  sched::NodeReport report{.node = node_, .boot = boot_, .session = session_};
  report.seq = ++seq_;
  report.applied = applied_;
  report.inventory = inventory_;
  report.leaving = closing_;
  for (const auto& [epoch, attempt] : attempts_) {
    report.attempts.push_back(attempt.report);
    report.attempts.back().phase = attempt.phase;
  }
  return report;
}

std::optional<Tick> AgentSession::next_timer_ms() const {
  std::optional<Tick> next = core_.next_timer_ms();
  const auto at = [&](Tick due) { next = next ? std::min(*next, due) : due; };
  for (const auto& [epoch, attempt] : attempts_) {
    if (attempt.leftover && attempt.stop_asked_ms < 0) at(0);
    if (attempt.look_again_ms >= 0) at(attempt.look_again_ms);
    if (attempt.kill_at_ms >= 0) at(attempt.kill_at_ms);
    if (attempt.phase == Phase::kStopping && attempt.stop_asked_ms >= 0) at(attempt.stop_asked_ms + limits_.verify_ms);
  }
  return next;
}

bool AgentSession::has_live_lease(uint64_t epoch) const {
  const auto found = attempts_.find(epoch);
  return found != attempts_.end() && found->second.phase == Phase::kRunning;
}

void AgentSession::handle(const sched::DesiredState& input, Tick now_ms, Effects& effects) {
  if (input.node != node_ || input.boot != boot_ || input.revision <= applied_) return;
  const bool told = session_ == 0;
  session_ = input.session;
  applied_ = input.revision;
  std::set<uint64_t> listed;
  for (const sched::DesiredAttempt& desired : input.attempts) {
    listed.insert(desired.epoch);
    const auto found = attempts_.find(desired.epoch);
    if (found == attempts_.end()) {
      begin(desired, now_ms, effects);
    } else if (!desired.stopping.empty()) {
      stop(desired.epoch, found->second, desired.grace_ms, now_ms, effects);
    }
  }
  for (auto at = attempts_.begin(); at != attempts_.end();) {
    if (listed.count(at->first) == 0 && at->second.phase == Phase::kFinished) {
      at = attempts_.erase(at);  // its end is on the coordinator's disk
      continue;
    }
    if (listed.count(at->first) == 0) stop(at->first, at->second, 0, now_ms, effects);
    ++at;
  }
  if (told) effects.emplace_back(SendReport{});
}

void AgentSession::begin(const sched::DesiredAttempt& desired, Tick now_ms, Effects& effects) {
  Attempt& attempt = attempts_[desired.epoch];
  attempt.desired = desired;
  attempt.report.epoch = desired.epoch;
  if (!desired.stopping.empty()) {
    return ended(desired.epoch, static_cast<int>(ExitCode::kCancelled), "stopped before it started", now_ms, effects);
  }
  if (closing_) {
    return ended(desired.epoch, static_cast<int>(ExitCode::kPeerLost), "the node's agent ends", now_ms, effects);
  }
  if (desired.head) return core_step(StartRequested{desired.epoch}, now_ms, effects);
  attempt.phase = Phase::kRunning;  // it has no process of its own: the head's mpirun starts what it needs
  effects.emplace_back(SendReport{});
}

void AgentSession::stop(uint64_t epoch, Attempt& attempt, int64_t grace_ms, Tick now_ms, Effects& effects) {
  if (attempt.phase == Phase::kFinished) return;
  if (attempt.stop_asked_ms < 0) attempt.stop_asked_ms = now_ms;
  if (!attempt.desired.head && !attempt.has_process) return ended(epoch, 0, "", now_ms, effects);
  if (attempt.phase != Phase::kDirty && attempt.look_again_ms < 0) attempt.phase = Phase::kStopping;
  if (!attempt.desired.head && grace_ms > 0) {
    if (attempt.kill_at_ms < 0) attempt.kill_at_ms = attempt.stop_asked_ms + grace_ms;
    return;
  }
  attempt.kill_at_ms = -1;
  core_step(StopRequested{epoch, grace_ms}, now_ms, effects);
}

void AgentSession::handle(const ProcessStarted& input, Tick now_ms, Effects& effects) {
  const auto found = attempts_.find(input.epoch);
  if (found != attempts_.end()) {
    found->second.has_process = true;
    if (!found->second.desired.head) core_step(StartRequested{input.epoch}, now_ms, effects);
  }
  core_step(input, now_ms, effects);
}

void AgentSession::handle(const StartFailed& input, Tick now_ms, Effects& effects) {
  core_step(input, now_ms, effects);
}

void AgentSession::handle(const ProcessExited& input, Tick now_ms, Effects& effects) {
  core_step(input, now_ms, effects);
}

void AgentSession::handle(const AttemptBroken& input, Tick now_ms, Effects& effects) {
  const auto found = attempts_.find(input.epoch);
  if (found == attempts_.end() || found->second.phase == Phase::kFinished || found->second.broken) return;
  found->second.broken = input;
  stop(input.epoch, found->second, 0, now_ms, effects);
}

void AgentSession::handle(const ShutDown& input, Tick now_ms, Effects& effects) {
  closing_ = true;
  for (auto& [epoch, attempt] : attempts_) stop(epoch, attempt, input.grace_ms, now_ms, effects);
}

void AgentSession::handle(const WorkerResult& input, Tick, Effects&) {
  const auto found = attempts_.find(input.epoch);
  if (found == attempts_.end() || found->second.phase == Phase::kFinished) return;
  sched::AttemptReport& report = found->second.report;
  report.error_code = input.error_code;
  report.message = input.message;
  report.summary = input.summary;
  report.corrupt_inputs = input.corrupt_inputs;
}

void AgentSession::handle(const DevicesVerified& input, Tick now_ms, Effects& effects) {
  const auto found = attempts_.find(input.epoch);
  if (found == attempts_.end() || found->second.look_again_ms < 0) return;
  Attempt& attempt = found->second;
  if (!input.free) {
    attempt.look_again_ms = now_ms + limits_.verify_again_ms;
    return;
  }
  attempt.look_again_ms = -1;
  attempt.phase = Phase::kFinished;
  effects.emplace_back(SendReport{});
}

void AgentSession::handle(const TimerFired& input, Tick now_ms, Effects& effects) {
  core_step(input, now_ms, effects);
  for (auto& [epoch, attempt] : attempts_) {
    if (attempt.leftover && attempt.stop_asked_ms < 0) stop(epoch, attempt, 0, now_ms, effects);
    if (attempt.kill_at_ms >= 0 && attempt.kill_at_ms <= now_ms) stop(epoch, attempt, 0, now_ms, effects);
    if (attempt.look_again_ms >= 0 && attempt.look_again_ms <= now_ms) {
      attempt.look_again_ms = now_ms + limits_.verify_again_ms;
      effects.emplace_back(VerifyDevices{epoch, attempt.desired.gpus});
    }
    if (attempt.phase == Phase::kStopping && attempt.stop_asked_ms + limits_.verify_ms <= now_ms) {
      attempt.phase = Phase::kDirty;
      effects.emplace_back(SendReport{});
    }
  }
}

void AgentSession::core_step(const AgentInput& input, Tick now_ms, Effects& effects) {
  for (const AgentEffect& effect : core_.step(input, now_ms)) {
    if (const auto* launch = std::get_if<LaunchProcess>(&effect)) {
      const Attempt& attempt = attempts_.at(launch->epoch);
      if (attempt.desired.head) effects.emplace_back(LaunchAttempt{attempt.desired});
    } else if (const auto* signal = std::get_if<SignalProcess>(&effect)) {
      effects.emplace_back(*signal);
    } else if (const auto* started = std::get_if<ReportStarted>(&effect)) {
      Attempt& attempt = attempts_.at(started->epoch);
      attempt.report.pid = started->pid;
      if (attempt.phase == Phase::kLaunching) attempt.phase = Phase::kRunning;
      effects.emplace_back(SendReport{});
    } else if (const auto* finished = std::get_if<ReportFinished>(&effect)) {
      ended(finished->epoch, finished->exit_code, finished->message, now_ms, effects);
    }
  }
}

void AgentSession::ended(uint64_t epoch, int exit_code, const std::string& message, Tick now_ms, Effects& effects) {
  const auto found = attempts_.find(epoch);
  if (found == attempts_.end() || found->second.phase == Phase::kFinished) return;
  Attempt& attempt = found->second;
  if (attempt.look_again_ms >= 0) return;  // told before; its GPUs are being looked at
  const bool daemon = !attempt.desired.head && !attempt.leftover && attempt.has_process;
  attempt.has_process = false;
  attempt.kill_at_ms = -1;
  if (daemon && attempt.stop_asked_ms < 0) return;  // the gang's end is the head's matter
  attempt.report.exit_code = daemon ? 0 : exit_code;
  if (!message.empty() && !daemon) attempt.report.message = message;
  if (attempt.broken) {
    attempt.report.exit_code = attempt.broken->exit_code;
    attempt.report.message = attempt.broken->message;
  }
  if (attempt.desired.gpus != 0 && attempt.phase != Phase::kLaunching) {
    if (attempt.stop_asked_ms < 0) attempt.stop_asked_ms = now_ms;
    if (attempt.phase != Phase::kDirty) attempt.phase = Phase::kStopping;
    attempt.look_again_ms = now_ms + limits_.verify_again_ms;
    effects.emplace_back(VerifyDevices{epoch, attempt.desired.gpus});
    return;
  }
  attempt.phase = Phase::kFinished;
  effects.emplace_back(SendReport{});
}

}  // namespace gridquant::node
