// The loop: messages, processes, time. What an attempt is made of is in agent_attempts.cc.
#include "node/daemon/agent.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"
#include "node/launch/marked.h"

namespace gridquant::node {
namespace {

constexpr int64_t kLookMs = 200;         // between two looks at ranks and leftovers
constexpr int64_t kLastWordsMs = 2'000;  // at the end, for the coordinator to hear of it
constexpr size_t kPiecesPerTurn = 16;

}  // namespace

Agent::Agent(const Seams& seams, AgentOptions options)
    : seams_(seams),
      options_(std::move(options)),
      leftovers_(seams.files.alive()),
      session_(options_.node, seams.files.boot(), options_.inventory, leftovers_, options_.session),
      relay_(seams.env) {
  for (const uint64_t epoch : leftovers_) {
    base::log(base::LogLevel::kWarning,
              absl::StrCat("processes of attempt ", epoch, " were left behind by an earlier agent: they are killed"));
  }
  for (const uint64_t epoch : seams_.files.attempts()) {
    const auto text = base::read_file(seams_.env, seams_.files.attempt_file(epoch, "log.json"));
    const auto note = nlohmann::json::parse(text.ok() ? *text : "", nullptr, /*allow_exceptions=*/false);
    if (!note.is_object() || !note.contains("logName") || !note["logName"].is_string()) {
      remove_folder(epoch);
      continue;
    }
    relay_.add(epoch, note["logName"].get<std::string>(), seams_.files.attempt_file(epoch, "log"));
    relay_.end(epoch);
  }
}

Agent::~Agent() = default;

bool Agent::turn(int max_wait_ms) {
  for (Message& message : seams_.inbox.take()) std::visit([&](auto& value) { receive(value); }, message);
  for (ProcessEvent& event : seams_.launcher.wait(wait_ms(max_wait_ms), seams_.inbox.wake_fd())) {
    if (event.kind == ProcessEvent::Kind::kLine) {
      on_line(event.id, event.line);
    } else {
      on_exit(event.id, event.exit_code);
    }
  }
  for (Message& message : seams_.inbox.take()) std::visit([&](auto& value) { receive(value); }, message);
  on_timers();
  send_logs();
  if (report_due_ || now_ms() >= next_report_ms_) {
    report_due_ = false;
    next_report_ms_ = now_ms() + options_.heartbeat_ms;
    seams_.uplink.send(session_.report());
  }
  if (shut_downs_ == 0) return true;
  const bool runs = session_.running() > 0 ||
                    std::any_of(attempts_.begin(), attempts_.end(), [](const auto& one) { return one.second.runs; });
  if (runs) return true;
  if (over_by_ms_ == 0) over_by_ms_ = now_ms() + kLastWordsMs;
  return displaced_.ok() && !attempts_.empty() && now_ms() < over_by_ms_;
}

void Agent::shut_down() {
  ++shut_downs_;
  report_due_ = true;  // the node is leaving
  step(ShutDown{shut_downs_ == 1 ? options_.shutdown_grace_ms : 0});
}

int Agent::wait_ms(int max_wait_ms) const {
  int64_t wait = std::min<int64_t>(max_wait_ms, next_report_ms_ - now_ms());
  if (const auto due = session_.next_timer_ms()) wait = std::min(wait, *due - now_ms());
  if (!attempts_.empty() || !leftovers_.empty()) wait = std::min(wait, next_look_ms_ - now_ms());
  return report_due_ ? 0 : static_cast<int>(std::max<int64_t>(0, wait));
}

void Agent::step(const SessionInput& input) {
  for (const SessionEffect& value : session_.step(input, now_ms())) {
    std::visit([&](const auto& one) { effect(one); }, value);
  }
}

void Agent::effect(const SignalProcess& effect) {
  const bool left = std::find(leftovers_.begin(), leftovers_.end(), effect.epoch) != leftovers_.end();
  if (left) {
    kill_marked({seams_.files.mark(effect.epoch)});
    return;
  }
  seams_.launcher.signal(effect.epoch, effect.kill ? Signal::kKill : Signal::kTerminate);
}

void Agent::effect(const VerifyDevices& effect) {
  // This build sees no GPUs, so it lends none; if it was made to believe in some, it cannot know them to be free.
  step(DevicesVerified{effect.epoch, effect.gpus == 0});
}

void Agent::receive(Desired& message) {
  for (const sched::DesiredAttempt& desired : message.state.attempts) {
    if (attempts_.count(desired.epoch) != 0) continue;
    Attempt& attempt = attempts_[desired.epoch];
    attempt.desired = desired;
    attempt.task = std::move(message.tasks[desired.epoch]);
  }
  step(message.state);
  forget();
  if (shut_downs_ > 0) report_due_ = true;  // what is left to say
}

// What the session does not know (any more) is not needed here either.
void Agent::forget() {
  for (auto at = attempts_.begin(); at != attempts_.end();) {
    if (at->second.runs || session_.knows(at->first)) {
      ++at;
      continue;
    }
    if (!at->second.desired.head) remove_folder(at->first);  // the head's goes when its log is with the coordinator
    at = attempts_.erase(at);
  }
}

void Agent::receive(const LogAcknowledged& message) {
  relay_.acknowledged(message.epoch, message.offset);
}

void Agent::receive(const Connected&) {
  relay_.reconnected();
  report_due_ = true;
}

void Agent::receive(const Displaced& message) {
  displaced_ = absl::FailedPreconditionError(message.why);
  ++shut_downs_;
  step(ShutDown{0});
}

void Agent::receive(const Judged& message) {
  finish(message.epoch, message.outcome);
}

void Agent::on_timers() {
  if (const auto due = session_.next_timer_ms(); due && *due <= now_ms()) step(TimerFired{});
  if (now_ms() < next_look_ms_) return;
  next_look_ms_ = now_ms() + kLookMs;
  look_at_leftovers();
  look_at_ranks();
}

void Agent::look_at_leftovers() {
  if (leftovers_.empty()) return;
  const std::vector<uint64_t> alive = seams_.files.alive();
  for (const uint64_t epoch : std::exchange(leftovers_, {})) {
    if (std::find(alive.begin(), alive.end(), epoch) != alive.end()) {
      leftovers_.push_back(epoch);
    } else {
      step(ProcessExited{epoch, 128 + 9});
    }
  }
}

void Agent::look_at_ranks() {
  for (auto& [epoch, attempt] : attempts_) {
    if (!attempt.runs || !attempt.watch) continue;
    const std::vector<RankWatch::Silence> silent = attempt.watch->look(now_ms());
    if (silent.empty()) continue;
    const RankWatch::Silence& first = silent.front();
    std::string message = absl::StrCat(
        "rank ", first.rank, " on node ", attempt.gang() ? attempt.node_of(first.rank) : options_.node,
        first.never_came ? " has not started within " : " has shown no sign of life for ", first.for_ms / 1000, " s");
    if (silent.size() > 1) message += absl::StrCat(", and ", silent.size() - 1, " others");
    base::log(base::LogLevel::kWarning, absl::StrCat(attempt.desired.run, "/", attempt.desired.stage, ": ", message));
    seams_.launcher.write_log(epoch, message);
    attempt.watch.reset();  // once
    step(AttemptBroken{epoch, static_cast<int>(ExitCode::kPeerLost), message});
  }
}

void Agent::send_logs() {
  for (LogPiece& piece : relay_.next(kPiecesPerTurn)) seams_.uplink.send(std::move(piece));
  for (const uint64_t epoch : relay_.finished()) remove_folder(epoch);
}

void Agent::remove_folder(uint64_t epoch) {
  const auto text = base::read_file(seams_.env, seams_.files.attempt_file(epoch, "shared"));
  if (text.ok() && text->starts_with(options_.shared_memory + "/")) seams_.env.remove_tree(*text).IgnoreError();
  seams_.env.remove_tree(seams_.files.attempt_folder(epoch)).IgnoreError();
}

}  // namespace gridquant::node
