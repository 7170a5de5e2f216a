// RunDriver's side towards the workers: starting them, reading their events, telling the scheduler how they ended.
#include "cli/driver.h"
#include "coordinator/store/workdir.h"
#include "node/launch/mpirun.h"
#include "stages/task.h"
#include "stages/warnings.h"

namespace gridquant::cli {

void RunDriver::agent_step(const node::AgentInput& input) {
  for (const node::AgentEffect& value : agent_.step(input, now_ms())) {
    std::visit([&](const auto& one) { effect(one); }, value);
  }
}

void RunDriver::effect(const node::LaunchProcess& effect) {
  const Worker& worker = workers_.at(effect.epoch);
  const sched::Stage& stage = run().stages[run().index.at(worker.stage)];
  const int number = stage.attempts.back().number;
  node::LaunchSpec spec;
  const int ranks = gang_ranks(worker.stage);
  spec.argv = node::local_command(
      {options_.mpirun,
       ranks,
       {options_.worker, "--task", store::attempt_file(options_.workdir, run_id_, worker.stage, number, "json")}});
  spec.log_path = store::attempt_file(options_.workdir, run_id_, worker.stage, number, "log");
  spec.keep_fds = options_.keep_fds;
  const StatusOr<int64_t> pid = seams_.launcher.start(effect.epoch, spec);
  if (pid.ok()) {
    agent_step(node::ProcessStarted{effect.epoch, *pid});
  } else {
    agent_step(node::StartFailed{effect.epoch, std::string(pid.status().message())});
  }
}

void RunDriver::effect(const node::SignalProcess& effect) {
  seams_.launcher.signal(effect.epoch, effect.kill ? node::Signal::kKill : node::Signal::kTerminate);
}

void RunDriver::effect(const node::ReportStarted& effect) {
  inputs_.push_back(sched::AttemptStarted{run_id_, workers_.at(effect.epoch).stage, effect.epoch, effect.pid});
}

void RunDriver::effect(const node::ReportFinished& effect) {
  const auto found = workers_.find(effect.epoch);
  if (found == workers_.end()) return;  // reported before
  const Worker worker = std::move(found->second);
  workers_.erase(found);
  sched::AttemptFinished finished{.run = run_id_, .stage = worker.stage, .epoch = effect.epoch};
  const int exit_code = gang_ranks(worker.stage) > 1 ? node::gang_exit_code(effect.exit_code) : effect.exit_code;
  const sched::Stage& stage = run().stages[run().index.at(worker.stage)];
  node::EndedWorker ended{.exit_code = exit_code, .artifact = artifact_of(worker.stage), .key = stage.key};
  ended.log_path = store::attempt_file(options_.workdir, run_id_, worker.stage, stage.attempts.back().number, "log");
  for (const auto& [uses, name] : stage.plan.inputs) ended.inputs[name] = artifact_of(name);
  node::WorkerOutcome outcome = node::judge(seams_.env, ended, worker.story);
  if (outcome.exit_code == 0) keep_warnings(worker.stage, worker.story.warnings);
  finished.exit_code = outcome.exit_code;
  finished.failure = failure_class_for(outcome.exit_code);
  finished.error_code = std::move(outcome.error_code);
  finished.message = effect.message.empty() || !worker.story.message.empty() ? outcome.message : effect.message;
  finished.summary = std::move(outcome.summary);
  finished.corrupt_inputs = std::move(outcome.corrupt_inputs);
  inputs_.push_back(std::move(finished));
}

void RunDriver::on_line(uint64_t epoch, const std::string& line) {
  const auto found = workers_.find(epoch);
  if (found == workers_.end()) return;
  const std::optional<node::WorkerEvent> event = node::parse_worker_event(line);
  if (!event) return seams_.launcher.write_log(epoch, line);
  if (event->kind == node::WorkerEvent::Kind::kHeartbeat) return;
  Worker& worker = found->second;
  if (event->kind == node::WorkerEvent::Kind::kProgress) {
    return seams_.output.progress({worker.stage, event->done, event->total, event->unit, event->message});
  }
  seams_.launcher.write_log(epoch, node::log_line(*event));
  worker.story.add(*event);
  if (event->kind == node::WorkerEvent::Kind::kError) return;
  const bool warning = event->kind == node::WorkerEvent::Kind::kWarning;
  seams_.output.message(worker.stage, warning ? "warning" : "note", event->message);
}

// A stage that is found in the cache has warned when it was made: its warnings lie beside its artifact.
void RunDriver::keep_warnings(const std::string& stage, const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) warnings_.push_back(stage + ": " + warning);
  const Status kept = stages::keep_warnings(seams_.env, artifact_of(stage), warnings);
  if (!kept.ok()) seams_.output.message(stage, "note", "its warnings cannot be kept: " + std::string(kept.message()));
}

void RunDriver::recall_warnings(const std::string& stage) {
  for (const std::string& warning : stages::recall_warnings(seams_.env, artifact_of(stage))) {
    warnings_.push_back(stage + ": " + warning);
  }
}

}  // namespace gridquant::cli
