// What becomes of an attempt: started, finished, failed (by the class of its failure), stopped.
#include <algorithm>
#include <cmath>

#include "coordinator/sched/step.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

// The wait before the next attempt after `failures` of them: initial * factor^(failures - 1), at most the maximum.
int64_t backoff_ms(const spec::RetryPolicy& policy, int failures) {
  const double wait =
      static_cast<double>(policy.initial_backoff_ms) * std::pow(std::max(policy.factor, 1.0), failures - 1);
  return static_cast<int64_t>(std::min(wait, static_cast<double>(policy.max_backoff_ms)));
}

}  // namespace

Stage* Step::find_attempt(const std::string& run, const std::string& name, uint64_t epoch) {
  Stage* stage = find_stage(run, name);
  if (stage == nullptr || stage->state != StageState::kRunning || stage->attempts.back().epoch != epoch) {
    refuse("attempt " + std::to_string(epoch) + " of " + run + "/" + name + " is not the current one");
    return nullptr;
  }
  return stage;
}

void Step::handle(const AttemptStarted& input) {
  Stage* stage = find_attempt(input.run, input.stage, input.epoch);
  if (stage == nullptr) return;
  if (stage->attempts.back().started_ms != 0) return refuse("the attempt has started before");
  emit(RecordType::kAttemptStarted, input.run, input.stage, {{"epoch", input.epoch}, {"pid", input.pid}});
}

void Step::handle(const AttemptFinished& input) {
  Stage* stage = find_attempt(input.run, input.stage, input.epoch);
  if (stage == nullptr) return;
  if (input.exit_code == 0) {
    finish(input.run, *stage, "succeeded", input);  // also when it was being stopped: what is committed is committed
    return;
  }
  fail_attempt(input.run, *stage, input);
}

void Step::fail_attempt(const std::string& run, Stage& stage, const AttemptFinished& input) {
  const std::string stopping = stage.attempts.back().stopping;
  if (stopping == "cancelled" || find_run(run)->state == RunState::kCancelling) {
    AttemptFinished cancelled = input;
    cancelled.message = find_run(run)->reason;
    return finish(run, stage, "cancelled", cancelled);
  }
  if (stopping == "timeout") {
    AttemptFinished late = input;
    late.exit_code = static_cast<int>(ExitCode::kTimeout);
    late.error_code = "DeadlineExceeded";
    late.message = "timed out after " + std::to_string(stage.plan.timeout_ms / 1000) + " s (timeout of the stage)";
    return retry(run, stage, late);
  }
  switch (input.failure) {
    case FailureClass::kUser:
      return finish(run, stage, "failed", input);
    case FailureClass::kInfrastructure:
      return retry(run, stage, input);
    case FailureClass::kCorruption:
      return remake(run, stage, input);
  }
}

void Step::retry(const std::string& run, Stage& stage, const AttemptFinished& input) {
  const int failures = stage.infrastructure_failures + 1;
  if (failures >= stage.plan.retry.max_attempts) {
    AttemptFinished last = input;
    if (failures > 1)
      last.message += " (attempt " + std::to_string(failures) + " of " + std::to_string(stage.plan.retry.max_attempts) +
                      ", no more are allowed)";
    return finish(run, stage, "failed", last);
  }
  finish(run, stage, "retry", input, {{"notBeforeMs", now_ms_ + backoff_ms(stage.plan.retry, failures)}});
}

void Step::remake(const std::string& run_id, Stage& stage, const AttemptFinished& input) {
  if (stage.remakes >= scheduler_.limits_.max_remakes) return finish(run_id, stage, "failed", input);
  Run& run = *find_run(run_id);
  std::vector<Stage*> corrupt;
  for (const size_t index : stage.inputs) {
    Stage& candidate = run.stages[index];
    const auto& names = input.corrupt_inputs;
    if (std::find(names.begin(), names.end(), candidate.plan.name) != names.end()) corrupt.push_back(&candidate);
  }
  // No input differs from its digest: then it is what the stage itself had committed, and it starts afresh.
  finish(run_id, stage, "remake", input, {{"fresh", corrupt.empty()}});
  for (Stage* producer : corrupt) {
    if (producer->state != StageState::kSucceeded) continue;  // being made again already
    emit(RecordType::kStageReset, run_id, producer->plan.name,
         {{"fresh", true}, {"reason", "its stored result was corrupt: " + input.message}});
  }
}

void Step::finish(const std::string& run, Stage& stage, const char* outcome, const AttemptFinished& input, json extra) {
  json body = {{"epoch", input.epoch},          {"outcome", outcome},       {"exitCode", input.exit_code},
               {"errorCode", input.error_code}, {"message", input.message}, {"summary", input.summary}};
  if (input.exit_code != 0) body.erase("summary");
  body.update(extra);
  emit(RecordType::kAttemptFinished, run, stage.plan.name, std::move(body));
}

void Step::stop(const std::string& run, Stage& stage, const char* why, int64_t grace_ms) {
  const Attempt& attempt = stage.attempts.back();
  if (attempt.stopping != why) {
    emit(RecordType::kAttemptStopping, run, stage.plan.name, {{"epoch", attempt.epoch}, {"why", why}});
  }
  result_.actions.push_back(StopAttempt{run, stage.plan.name, attempt.node, attempt.epoch, grace_ms});
}

void Step::cancel_stages(Run& run, bool force) {
  for (Stage& stage : run.stages) {
    if (is_over(stage.state)) continue;
    if (stage.state == StageState::kRunning) {
      stop(run.id, stage, "cancelled", force ? 0 : scheduler_.limits_.stop_grace_ms);
    } else {
      emit(RecordType::kStageCancelled, run.id, stage.plan.name, {{"reason", run.reason}});
    }
  }
}

}  // namespace gridquant::sched
