// See follow.h.
#include "cli/follow.h"

#include <chrono>
#include <thread>

#include "cli/remote.h"
#include "engine/base/clock.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;
using Kind = client::StreamStep<v1::WatchRunResponse>::Kind;

constexpr int64_t kTickMs = 100;
constexpr int64_t kBatchPollMs = 500;
constexpr int64_t kBatchReconnectMs = 60'000;

// "node-a", or "node-a (2 ranks), node-b (2 ranks)".
std::string nodes_of(const json& body) {
  const json members = body.value("members", json::array());
  std::string text;
  for (const json& member : members) {
    const int ranks = member.value("ranks", 1);
    text += (text.empty() ? "" : ", ") + member.value("node", "");
    if (members.size() > 1 || ranks > 1) text += " (" + std::to_string(ranks) + (ranks == 1 ? " rank)" : " ranks)");
  }
  return text.empty() ? body.value("node", "") : text;
}

bool changes_a_stage(const std::string& type) {
  return type.rfind("stage_", 0) == 0 || type == "attempt_granted" || type == "attempt_finished";
}

void say(RunOutput& output, const std::string& text) {
  output.message("", "info", text);
}

constexpr const char* kCut = "the connection to the coordinator was lost; the run goes on, trying again";
constexpr const char* kBack = "connected again";

}  // namespace

void EventTeller::tell(const v1::WatchRunResponse& message) {
  if (message.has_event()) {
    output_.about_event(message.event().sequence());
    tell(message.event());
    output_.about_event(0);
  }
  if (message.has_progress()) tell(message.progress());
}

void EventTeller::tell(const v1::Progress& progress) {
  if (progress.kind() != "progress") return output_.message(progress.stage(), progress.kind(), progress.message());
  output_.progress({progress.stage(), progress.done(), progress.total(), progress.unit(), progress.message()});
}

void EventTeller::tell(const v1::Event& event) {
  json body = json::parse(event.body_json(), nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) body = json::object();
  const std::string& type = event.type();
  try {
    if (type == "run_submitted") {
      std::vector<std::string> stages;
      for (const v1::Stage& stage : run_.stages()) stages.push_back(stage.name());
      output_.run_started(run_.id(), run_.pipeline(), stages);
    } else if (type == "run_finished") {
      output_.run_ended(run_.id(), word_of(event.run_state()), body.value("reason", ""));
    } else if (type == "run_delivered") {
      const std::string error = body.value("error", "");
      if (!error.empty()) output_.message("", "warning", "it cannot be delivered: " + error);
    } else if (type == "run_cancelling") {
      say(output_, "cancelling: " + body.value("reason", "asked to"));
    } else if (type == "run_paused") {
      say(output_, "paused: nothing new starts until gridquant resume " + run_.id());
    } else if (type == "run_resumed") {
      say(output_, "resumed");
    } else if (!event.stage().empty() && changes_a_stage(type)) {
      tell_stage(event, body);
    }
  } catch (const json::exception&) {
    say(output_, "event " + std::to_string(event.sequence()) + " (" + type + ") has an unknown form");
  }
}

void EventTeller::tell_stage(const v1::Event& event, const json& body) {
  StageChange change;
  change.stage = event.stage();
  for (const v1::Stage& stage : run_.stages()) {
    if (stage.name() == event.stage()) change.uses = stage.uses();
  }
  change.state = word_of(event.stage_state());
  change.cached = event.type() == "stage_cached";
  change.reason = body.value("reason", body.value("message", ""));
  Attempt& attempt = attempts_[event.stage()];
  if (event.type() == "attempt_granted") {
    attempt = {from_start_ ? attempt.number + 1 : 0, event.at_ms()};
    change.nodes = nodes_of(body);
  }
  if (event.type() == "attempt_granted" || event.type() == "attempt_finished") change.attempt = attempt.number;
  if (event.type() == "attempt_finished" && attempt.granted_ms > 0) {
    change.seconds = static_cast<double>(event.at_ms() - attempt.granted_ms) / 1000.0;
  }
  if (change.state == "waiting") {
    change.retry_in_s = static_cast<double>(body.value("notBeforeMs", event.at_ms()) - event.at_ms()) / 1000.0;
  }
  output_.stage_changed(change);
}

Followed follow_run(client::Client& client, const v1::Run& run, RunOutput& output, InterruptSource& interrupts,
                    uint64_t after) {
  EventTeller teller(run, output, /*from_start=*/after == 0);
  v1::WatchRunRequest request;
  request.set_run(run.id());
  request.set_after_sequence(after);
  const auto stream = client.watch(request);
  while (true) {
    const auto step = stream->next(kTickMs);
    output.tick(base::system_clock().wall_ms());
    if (step.kind == Kind::kMessage) teller.tell(*step.message);
    if (step.kind == Kind::kCut) say(output, kCut);
    if (step.kind == Kind::kReconnected) say(output, kBack);
    if (step.kind == Kind::kEnded) return {.left = false, .status = step.status};
    if (interrupts.take() > 0) return {.left = true};
  }
}

namespace {

// What one look at the batch has to say beyond the last one. Returns how many of its runs are not over.
class BatchTeller {
 public:
  explicit BatchTeller(RunOutput& output) : output_(output) {}

  size_t tell(const v1::GetBatchResponse& batch) {
    if (!began_) {
      std::vector<std::string> runs;
      for (const v1::Run& run : batch.runs()) runs.push_back(run.id());
      output_.run_started(batch.id(), batch.name(), runs);
      began_ = true;
    }
    size_t open = 0, succeeded = 0;
    for (const v1::Run& run : batch.runs()) {
      tell(run);
      if (run.finished_ms() == 0) ++open;
      if (run.state() == v1::RUN_STATE_SUCCEEDED) ++succeeded;
    }
    if (open > 0) return open;
    const size_t all = static_cast<size_t>(batch.runs_size());
    output_.run_ended(batch.id(), succeeded == all ? "succeeded" : "failed",
                      std::to_string(succeeded) + " of " + std::to_string(all) + " runs succeeded");
    return 0;
  }

 private:
  void tell(const v1::Run& run) {
    StageChange change;
    change.stage = run.id();
    change.state = word_of(run.state());
    change.reason = run.reason();
    change.attempt = 1;
    if (run.finished_ms() > 0) change.seconds = static_cast<double>(run.finished_ms() - run.started_ms()) / 1000.0;
    std::string& last = states_[run.id()];
    if (last != change.state) output_.stage_changed(change);
    last = change.state;
    if (run.state() != v1::RUN_STATE_RUNNING) return;
    int& over = over_[run.id()];
    if (run.stages_over() == over) return;
    over = run.stages_over();
    output_.progress({run.id(), run.stages_over(), run.stages_total(), "stage", ""});
  }

  RunOutput& output_;
  bool began_ = false;
  std::map<std::string, std::string> states_;
  std::map<std::string, int> over_;
};

}  // namespace

Followed follow_batch(client::Client& client, const std::string& batch, RunOutput& output,
                      InterruptSource& interrupts) {
  BatchTeller teller(output);
  v1::GetBatchRequest request;
  request.set_batch(batch);
  int64_t contact_ms = base::system_clock().monotonic_ms();
  bool cut = false;
  while (true) {
    const StatusOr<v1::GetBatchResponse> answer = client.call(request);
    const int64_t now_ms = base::system_clock().monotonic_ms();
    if (answer.ok()) {
      if (std::exchange(cut, false)) say(output, kBack);
      contact_ms = now_ms;
      if (teller.tell(*answer) == 0) return {};
    } else {
      const bool may_come_back = answer.status().code() == absl::StatusCode::kUnavailable && contact_ms != now_ms;
      if (!may_come_back || now_ms - contact_ms > kBatchReconnectMs) return {.left = false, .status = answer.status()};
      if (!std::exchange(cut, true)) say(output, kCut);
    }
    for (int64_t waited = 0; waited < kBatchPollMs; waited += kTickMs) {
      output.tick(base::system_clock().wall_ms());
      if (interrupts.take() > 0) return {.left = true};
      std::this_thread::sleep_for(std::chrono::milliseconds(kTickMs));
    }
  }
}

}  // namespace gridquant::cli
