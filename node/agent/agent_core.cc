// The transitions of the table in the header, one handler per input.
#include "node/agent/agent_core.h"

#include <algorithm>

#include "engine/base/status.h"

namespace gridquant::node {

std::vector<AgentEffect> AgentCore::step(const AgentInput& input, Tick now_ms) {
  Effects effects;
  std::visit([&](const auto& value) { handle(value, now_ms, effects); }, input);
  return effects;
}

std::optional<Tick> AgentCore::next_timer_ms() const {
  std::optional<Tick> next;
  for (const auto& [epoch, attempt] : attempts_) {
    const bool stopping = attempt.state == State::kTerminating || attempt.state == State::kKilling;
    if (!stopping || !attempt.started) continue;
    next = next ? std::min(*next, attempt.signal_at_ms) : attempt.signal_at_ms;
  }
  return next;
}

void AgentCore::handle(const StartRequested& input, Tick, Effects& effects) {
  if (attempts_.count(input.epoch) != 0 || report_again(input.epoch, effects)) return;
  if (attempts_.size() >= static_cast<size_t>(limits_.slots)) {
    return finish(input.epoch, static_cast<int>(ExitCode::kPeerLost), "no free slot on this node", effects);
  }
  attempts_[input.epoch] = Attempt{};
  effects.emplace_back(LaunchProcess{input.epoch});
}

void AgentCore::handle(const StopRequested& input, Tick now_ms, Effects& effects) {
  const auto found = attempts_.find(input.epoch);
  if (found == attempts_.end()) {
    if (report_again(input.epoch, effects)) return;
    return finish(input.epoch, static_cast<int>(ExitCode::kCancelled), "stopped before it started", effects);
  }
  Attempt& attempt = found->second;
  if (attempt.state == State::kKilling) return;
  if (attempt.state == State::kTerminating && input.grace_ms > 0) return;  // TERM was sent, its grace runs
  attempt.state = input.grace_ms > 0 ? State::kTerminating : State::kKilling;
  attempt.grace_ms = input.grace_ms;
  if (attempt.started) send_stop(input.epoch, attempt, now_ms, effects);
}

void AgentCore::handle(const ProcessStarted& input, Tick now_ms, Effects& effects) {
  const auto found = attempts_.find(input.epoch);
  if (found == attempts_.end() || found->second.started) return;
  Attempt& attempt = found->second;
  attempt.started = true;
  effects.emplace_back(ReportStarted{input.epoch, input.pid});
  if (attempt.state == State::kLaunching) {
    attempt.state = State::kRunning;
  } else {
    send_stop(input.epoch, attempt, now_ms, effects);
  }
}

void AgentCore::handle(const StartFailed& input, Tick, Effects& effects) {
  const auto found = attempts_.find(input.epoch);
  if (found == attempts_.end() || found->second.started) return;
  finish(input.epoch, static_cast<int>(ExitCode::kIo), input.message, effects);
}

void AgentCore::handle(const ProcessExited& input, Tick, Effects& effects) {
  if (attempts_.count(input.epoch) != 0) finish(input.epoch, input.exit_code, "", effects);
}

void AgentCore::handle(const TimerFired&, Tick now_ms, Effects& effects) {
  for (auto& [epoch, attempt] : attempts_) {
    const bool stopping = attempt.state == State::kTerminating || attempt.state == State::kKilling;
    if (!stopping || !attempt.started || attempt.signal_at_ms > now_ms) continue;
    attempt.state = State::kKilling;
    send_stop(epoch, attempt, now_ms, effects);
  }
}

void AgentCore::send_stop(uint64_t epoch, Attempt& attempt, Tick now_ms, Effects& effects) {
  const bool kill = attempt.state == State::kKilling;
  attempt.signal_at_ms = now_ms + (kill ? limits_.kill_repeat_ms : attempt.grace_ms);
  effects.emplace_back(SignalProcess{epoch, kill});
}

void AgentCore::finish(uint64_t epoch, int exit_code, std::string message, Effects& effects) {
  attempts_.erase(epoch);
  finished_.push_back(ReportFinished{epoch, exit_code, std::move(message)});
  if (finished_.size() > limits_.remembered_finished) finished_.pop_front();
  effects.emplace_back(finished_.back());
}

bool AgentCore::report_again(uint64_t epoch, Effects& effects) const {
  for (const ReportFinished& report : finished_) {
    if (report.epoch != epoch) continue;
    effects.emplace_back(report);
    return true;
  }
  return false;
}

}  // namespace gridquant::node
