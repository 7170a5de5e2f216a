// RunDriver's side towards the workers: starting them, reading their events, telling the scheduler how they ended.
#include <algorithm>

#include "cli/driver.h"
#include "coordinator/store/workdir.h"
#include "node/launch/mpirun.h"
#include "stages/task.h"
#include "stages/warnings.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

constexpr size_t kTailBytes = 2'000;

// The last line that a worker wrote to its log: what there is to say if it died without an error event.
std::string last_log_line(base::Env& env, const std::string& path) {
  const auto file = env.open(path);
  if (!file.ok()) return "";
  const uint64_t bytes = std::min<uint64_t>((*file)->size(), kTailBytes);
  std::string tail(bytes, '\0');
  const auto to = std::as_writable_bytes(std::span<char>(tail.data(), tail.size()));
  if (!(*file)->read((*file)->size() - bytes, to).ok()) return "";
  while (!tail.empty() && tail.back() == '\n') tail.pop_back();
  const size_t start = tail.rfind('\n');
  return start == std::string::npos ? tail : tail.substr(start + 1);
}

}  // namespace

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
  finished.exit_code = gang_ranks(worker.stage) > 1 ? node::gang_exit_code(effect.exit_code) : effect.exit_code;
  finished.message = effect.message;
  finished.failure = failure_class_for(finished.exit_code);
  const sched::Stage& stage = run().stages[run().index.at(worker.stage)];
  if (effect.exit_code == 0) {
    const StatusOr<stages::Artifact> artifact = stages::read_artifact(seams_.env, artifact_of(worker.stage));
    if (artifact.ok() && artifact->key == stage.key) {
      finished.summary = artifact->summary;
      keep_warnings(worker.stage, worker.warnings);
    } else {
      finished.exit_code = static_cast<int>(ExitCode::kInvariant);
      finished.failure = FailureClass::kUser;
      finished.message = "the worker ended without an error, but its result is not there" +
                         (artifact.ok() ? std::string() : ": " + std::string(artifact.status().message()));
    }
  } else {
    describe_failure(worker, finished);
    if (finished.failure == FailureClass::kCorruption) finished.corrupt_inputs = corrupt_inputs(stage);
  }
  inputs_.push_back(std::move(finished));
}

void RunDriver::describe_failure(const Worker& worker, sched::AttemptFinished& finished) const {
  finished.error_code = worker.error_code;
  if (!worker.message.empty()) finished.message = worker.message;
  if (!finished.message.empty()) return;
  const sched::Stage& stage = run().stages[run().index.at(worker.stage)];
  const int code = finished.exit_code;
  finished.message = code > 128 && code <= 128 + 64 ? "the worker was ended by signal " + std::to_string(code - 128)
                                                    : "the worker ended with exit code " + std::to_string(code);
  const std::string last = last_log_line(
      seams_.env, store::attempt_file(options_.workdir, run_id_, worker.stage, stage.attempts.back().number, "log"));
  if (!last.empty()) finished.message += "; its last words: " + last;
}

// Reads every input with its digests: slow, but only after a worker said that stored bytes are wrong.
std::vector<std::string> RunDriver::corrupt_inputs(const sched::Stage& stage) const {
  std::vector<std::string> corrupt;
  for (const auto& [uses, name] : stage.plan.inputs) {
    const std::string folder = artifact_of(name);
    const StatusOr<stages::Artifact> artifact = stages::read_artifact(seams_.env, folder);
    if (!artifact.ok() || !stages::verify_artifact(seams_.env, folder, *artifact, /*digests=*/true).ok()) {
      corrupt.push_back(name);
    }
  }
  return corrupt;
}

void RunDriver::on_line(uint64_t epoch, const std::string& line) {
  const auto found = workers_.find(epoch);
  if (found == workers_.end()) return;
  const json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!event.is_object()) {
    seams_.launcher.write_log(epoch, line);  // a library printed something: it belongs to the log
    return;
  }
  try {
    on_worker_event(epoch, found->second, event);
  } catch (const json::exception&) {
    seams_.launcher.write_log(epoch, line);  // an event with fields of other types: keep it for whoever looks
  }
}

void RunDriver::on_worker_event(uint64_t epoch, Worker& worker, const json& event) {
  const std::string kind = event.value("event", "");
  if (kind == "heartbeat") return;  // this process sees by itself whether the worker lives
  const std::string message = event.value("message", "");
  if (kind == "progress") {
    seams_.output.progress({worker.stage, event.value("done", int64_t{0}), event.value("total", int64_t{0}),
                            event.value("unit", ""), message});
    return;
  }
  seams_.launcher.write_log(epoch, kind + ": " + message);
  if (kind == "error") {
    worker.error_code = event.value("code", "");
    worker.message = message;
    return;
  }
  seams_.output.message(worker.stage, kind == "warning" ? "warning" : "note", message);
  if (kind == "warning" && worker.warnings.size() < stages::kMaxWarnings) worker.warnings.push_back(message);
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
