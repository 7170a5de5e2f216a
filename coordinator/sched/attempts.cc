// What becomes of an attempt: started, finished, failed (by the class of its failure), stopped.
#include <algorithm>
#include <cmath>
#include <string_view>

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

std::string duration(int64_t ms) {
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
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
  AttemptFinished failure = input;
  if (stopping == "cancelled" || find_run(run)->state == RunState::kCancelling) {
    failure.message = find_run(run)->reason;
    return finish(run, stage, "cancelled", failure);
  }
  if (stopping == "drained") {
    failure.message = "its node was drained";
    return retry(run, stage, failure, "drain");
  }
  if (stopping == "timeout" || stopping == "deadline" || stopping == "start") {
    failure.exit_code = static_cast<int>(ExitCode::kTimeout);
    failure.error_code = "DeadlineExceeded";
    const std::string after = "timed out after ";
    failure.message = stopping == "timeout" ? after + duration(stage.plan.timeout_ms) + " (timeout of the stage)"
                      : stopping == "deadline"
                          ? after + duration(stage.plan.deadline_ms) + " (deadline of the stage)"
                          : "not all its ranks had started after " +
                                std::to_string(scheduler_.limits_.timing.start_timeout_ms / 1000) + " s";
    if (stopping == "deadline") return finish(run, stage, "failed", failure);
    return retry(run, stage, failure, "infrastructure");
  }
  switch (input.failure) {
    case FailureClass::kUser:
      return finish(run, stage, "failed", input);
    case FailureClass::kInfrastructure:
      return retry(run, stage, input, "infrastructure");
    case FailureClass::kCorruption:
      return remake(run, stage, input);
  }
}

// An attempt that ended with its node: not the stage's fault, so it has a budget of its own.
void Step::lose_attempt(uint64_t epoch, const std::string& why) {
  Stage* stage = undecided(epoch);
  if (stage == nullptr) return;
  const std::string run = scheduler_.state_.leases.at(epoch).run;
  AttemptFinished lost{.run = run, .stage = stage->plan.name, .epoch = epoch};
  lost.exit_code = static_cast<int>(ExitCode::kPeerLost);
  lost.message = why;
  const std::string stopping = stage->attempts.back().stopping;
  if (!stopping.empty() || find_run(run)->state == RunState::kCancelling) return fail_attempt(run, *stage, lost);
  retry(run, *stage, lost, "node");
}

// Each budget has its own count and its own growing pauses; a drain is the operator's wish and costs nothing.
void Step::retry(const std::string& run, Stage& stage, const AttemptFinished& input, const char* budget) {
  const bool node = std::string_view(budget) == "node", drain = std::string_view(budget) == "drain";
  const int failures = drain ? 0 : (node ? stage.node_losses : stage.infrastructure_failures) + 1;
  const int max_attempts = stage.plan.retry.max_attempts;
  const int allowed = node && max_attempts > 1 ? scheduler_.limits_.max_node_losses + 1 : max_attempts;
  if (!drain && failures >= allowed) {
    AttemptFinished last = input;
    if (failures > 1)
      last.message +=
          " (attempt " + std::to_string(failures) + " of " + std::to_string(allowed) + ", no more are allowed)";
    return finish(run, stage, "failed", last);
  }
  json extra = {{"notBeforeMs", now_ms_ + (drain ? 0 : backoff_ms(stage.plan.retry, failures))}};
  if (node || drain) extra["budget"] = budget;
  finish(run, stage, "retry", input, std::move(extra));
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
  const auto lease = scheduler_.state_.leases.find(input.epoch);
  if (lease != scheduler_.state_.leases.end() && !lease->second.embedded()) {
    const bool asked = !lease->second.stopping.empty();  // and keeps the grace that it was given
    body["graceMs"] = asked ? lease->second.grace_ms : scheduler_.limits_.stop_grace_ms;
  }
  emit(RecordType::kAttemptFinished, run, stage.plan.name, std::move(body));
}

void Step::stop(const std::string& run, Stage& stage, const char* why, int64_t grace_ms) {
  const Attempt& attempt = stage.attempts.back();
  const auto lease = scheduler_.state_.leases.find(attempt.epoch);
  const bool embedded = lease == scheduler_.state_.leases.end() || lease->second.embedded();
  if (attempt.stopping != why || (!embedded && grace_ms < lease->second.grace_ms)) {
    emit(RecordType::kAttemptStopping, run, stage.plan.name,
         {{"epoch", attempt.epoch}, {"why", why}, {"graceMs", grace_ms}});
  }
  if (!embedded) return;  // its agents are told by their desired states
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
