// The loop of a run, and what the scheduler's actions and the agent's effects mean here.
#include "cli/driver.h"

#include <algorithm>

#include "coordinator/control/artifacts.h"
#include "coordinator/spec/spec.h"
#include "coordinator/store/workdir.h"
#include "stages/task.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

constexpr int kMaxWaitMs = 100;  // the output is redrawn about this often
constexpr const char* kNode = "local";

StageChange change_of(const sched::Stage& stage, const sched::Record& record) {
  StageChange change;
  change.stage = record.stage;
  change.uses = stage.plan.uses;
  const char* state = stage_state_after(record);
  change.state = state == nullptr ? "pending" : state;
  change.cached = record.type == sched::RecordType::kStageCached;
  change.reason = record.body.value("reason", record.body.value("message", ""));
  const uint64_t epoch = record.body.value("epoch", uint64_t{0});
  for (const sched::Attempt& attempt : stage.attempts) {
    if (attempt.epoch != epoch) continue;
    change.attempt = attempt.number;
    if (record.type == sched::RecordType::kAttemptFinished) {
      change.seconds = static_cast<double>(record.at_ms - attempt.granted_ms) / 1000.0;
    }
  }
  if (change.state == "waiting") {
    const int64_t again_ms = record.body.value("notBeforeMs", record.at_ms);
    change.retry_in_s = static_cast<double>(again_ms - record.at_ms) / 1000.0;
  }
  return change;
}

}  // namespace

RunDriver::RunDriver(const Seams& seams, DriverOptions options)
    : seams_(seams),
      options_(std::move(options)),
      scheduler_(spec::evaluate_condition, sched::Limits{.stop_grace_ms = options_.stop_grace_ms}),
      wall_minus_monotonic_ms_(seams.clock.wall_ms() - seams.clock.monotonic_ms()) {}

// The wall clock's time, but never going back while we run: what records carry.
int64_t RunDriver::now_ms() const {
  return seams_.clock.monotonic_ms() + wall_minus_monotonic_ms_;
}

namespace {

// This machine has room for every gang of the pipeline: ranks beyond its cores share them.
int cores_for(const spec::Pipeline& pipeline, int cores) {
  int most = cores;
  for (const spec::StagePlan& stage : pipeline.stages) {
    most = std::max(most, stage.gang_ranks * std::clamp(stage.cores, 1, cores));
  }
  return most;
}

}  // namespace

Status RunDriver::drive(const sched::RunSubmitted& submitted, const std::map<std::string, store::StageKey>& keys) {
  run_id_ = submitted.run;
  keys_ = keys;
  inputs_.push_back(
      sched::NodeChanged{kNode, cores_for(submitted.pipeline, options_.cores), options_.memory_bytes, true});
  inputs_.push_back(submitted);
  while (true) {
    seams_.output.tick(now_ms());
    if (const Status settled = settle(); !settled.ok()) {
      kill_all();
      return settled;
    }
    if (ended_ && agent_.running() == 0) return absl::OkStatus();
    for (node::ProcessEvent& event : seams_.launcher.wait(wait_ms(), seams_.interrupts.wake_fd())) {
      if (event.kind == node::ProcessEvent::Kind::kLine) {
        on_line(event.id, event.line);
      } else {
        agent_step(node::ProcessExited{event.id, event.exit_code});
      }
    }
    on_interrupts();
    on_timers();
  }
}

Status RunDriver::settle() {
  while (!inputs_.empty()) {
    std::vector<sched::Record> records;
    std::vector<sched::Action> actions;
    for (; !inputs_.empty(); inputs_.pop_front()) {
      sched::StepResult result = scheduler_.step(inputs_.front(), now_ms());
      std::move(result.records.begin(), result.records.end(), std::back_inserter(records));
      std::move(result.actions.begin(), result.actions.end(), std::back_inserter(actions));
    }
    GQ_RETURN_IF_ERROR(commit(records));
    for (const sched::Record& record : records) tell(record);
    for (const sched::Action& action : actions) std::visit([&](const auto& value) { act(value); }, action);
  }
  return absl::OkStatus();
}

Status RunDriver::commit(const std::vector<sched::Record>& records) {
  store::Batch batch;
  for (const sched::Record& record : records) {
    batch.records.push_back({record.run, to_json(record).dump(-1, ' ', false, json::error_handler_t::replace)});
    if (record.type == sched::RecordType::kAttemptFinished && record.body.value("outcome", "") == "succeeded") {
      const store::StageKey& key = keys_.at(record.stage);
      const sched::Run& of = run();
      const std::string& uses = of.stages[of.index.at(record.stage)].plan.uses;
      batch.artifacts.push_back({key.key, uses, record.stage, record.run, record.at_ms, key.components});
    }
  }
  const sched::Run* of = scheduler_.find_run(run_id_);
  if (of != nullptr) {
    batch.runs.push_back({of->id, of->pipeline.name, name_of(of->state), of->created_ms, of->finished_ms});
  }
  return records.empty() ? absl::OkStatus() : annotate(seams_.store.commit(batch), "the run's state cannot be saved");
}

void RunDriver::tell(const sched::Record& record) {
  if (record.run.empty()) return;
  const sched::Run& of = run();
  if (record.type == sched::RecordType::kRunSubmitted) {
    std::vector<std::string> names;
    for (const sched::Stage& stage : of.stages) names.push_back(stage.plan.name);
    return seams_.output.run_started(of.id, of.pipeline.name, names);
  }
  if (record.type == sched::RecordType::kRunFinished) {
    return seams_.output.run_ended(of.id, name_of(of.state), of.reason);
  }
  if (record.type == sched::RecordType::kRunCancelling) {
    return seams_.output.message("", "warning", "cancelling: waiting for the workers to stop (once more to kill them)");
  }
  if (record.type == sched::RecordType::kAttemptStarted || record.type == sched::RecordType::kAttemptStopping) return;
  if (record.stage.empty()) return;
  seams_.output.stage_changed(change_of(of.stages[of.index.at(record.stage)], record));
}

std::string RunDriver::artifact_of(const std::string& name) const {
  const sched::Stage& stage = run().stages[run().index.at(name)];
  return store::artifact_folder(options_.workdir, stage.plan.uses, stage.key);
}

// ---- the scheduler's actions

void RunDriver::act(const sched::FindArtifact& action) {
  const auto warn = [&](const std::string& message) { seams_.output.message(action.stage, "warning", message); };
  const auto summary = control::find_artifact(seams_.env, artifact_of(action.stage), action.key, warn);
  if (summary.ok()) {
    recall_warnings(action.stage);
    inputs_.push_back(sched::ArtifactFound{action.run, action.stage, action.key, *summary});
    return;
  }
  inputs_.push_back(sched::ArtifactMissing{action.run, action.stage, action.key});
}

Status RunDriver::write_task(const sched::StartAttempt& action) {
  const sched::Stage& stage = run().stages[run().index.at(action.stage)];
  stages::Task task{.run = action.run,
                    .stage = action.stage,
                    .uses = stage.plan.uses,
                    .attempt = action.number,
                    .key = stage.key,
                    .with = stage.plan.with,
                    .inputs = {},
                    .artifact = artifact_of(action.stage),
                    .fresh = action.fresh};
  task.threads = options_.threads > 0 ? options_.threads : std::min(stage.plan.cores, options_.cores);
  for (const auto& [uses, name] : stage.plan.inputs) task.inputs[uses] = artifact_of(name);
  GQ_RETURN_IF_ERROR(seams_.env.make_folders(task.artifact));
  const std::string path = store::attempt_file(options_.workdir, action.run, action.stage, action.number, "json");
  GQ_RETURN_IF_ERROR(seams_.env.make_folders(base::folder_of(path)));
  return stages::write_task(seams_.env, path, task);
}

void RunDriver::act(const sched::StartAttempt& action) {
  workers_[action.epoch].stage = action.stage;
  const Status written = write_task(action);
  if (!written.ok()) {
    sched::AttemptFinished finished{.run = action.run, .stage = action.stage, .epoch = action.epoch};
    finished.exit_code = static_cast<int>(exit_code_for(written));
    finished.failure = failure_class_for(finished.exit_code);
    finished.message = std::string(written.message());
    inputs_.push_back(std::move(finished));
    return;
  }
  agent_step(node::StartRequested{action.epoch});
}

void RunDriver::act(const sched::StopAttempt& action) {
  agent_step(node::StopRequested{action.epoch, action.grace_ms});
}

void RunDriver::act(const sched::RunEnded&) {
  ended_ = true;
}

// ---- interruptions and time

void RunDriver::on_interrupts() {
  for (int left = seams_.interrupts.take(); left > 0; --left) {
    inputs_.push_back(sched::CancelRequested{run_id_, "interrupted by the user", cancelling_});
    cancelling_ = true;
  }
}

void RunDriver::on_timers() {
  const auto due = scheduler_.next_timer_ms();
  if (due && *due <= now_ms()) inputs_.push_back(sched::TimerFired{});
  const auto agent_due = agent_.next_timer_ms();
  if (agent_due && *agent_due <= now_ms()) agent_step(node::TimerFired{});
}

int RunDriver::wait_ms() const {
  int64_t wait = kMaxWaitMs;
  for (const auto& due : {scheduler_.next_timer_ms(), agent_.next_timer_ms()}) {
    if (due) wait = std::min(wait, std::max<int64_t>(0, *due - now_ms()));
  }
  return inputs_.empty() ? static_cast<int>(wait) : 0;
}

void RunDriver::kill_all() {
  for (const auto& [epoch, worker] : workers_) seams_.launcher.signal(epoch, node::Signal::kKill);
}

}  // namespace gridquant::cli
