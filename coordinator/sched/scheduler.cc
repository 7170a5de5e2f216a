// The scheduler's outside: step, replay, digest, timers; and the handlers of what comes from callers.
#include "coordinator/sched/scheduler.h"

#include <algorithm>

#include "coordinator/sched/pipeline_json.h"
#include "coordinator/sched/step.h"

namespace gridquant::sched {

using nlohmann::json;

Scheduler::Scheduler(ConditionFn condition, Limits limits) : condition_(std::move(condition)), limits_(limits) {}

StepResult Scheduler::step(const Input& input, Tick now_ms) {
  Step step(*this, now_ms);
  std::visit([&](const auto& value) { step.handle(value); }, input);
  step.advance();
  return step.take();
}

StatusOr<Scheduler> Scheduler::replay(std::span<const Record> records, ConditionFn condition, Limits limits) {
  Scheduler scheduler(std::move(condition), limits);
  for (const Record& record : records) GQ_RETURN_IF_ERROR(apply(scheduler.state_, record));
  return scheduler;
}

std::string Scheduler::digest() const {
  // FNV-1a over the canonical JSON, twice with other offsets: to compare states, not against forgery.
  const std::string text = to_json(state_).dump();
  uint64_t halves[2] = {14695981039346656037ull, 1099511628211ull};
  for (const char c : text) {
    for (uint64_t& half : halves) half = (half ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    halves[1] ^= halves[1] >> 29;
  }
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string digest;
  for (const uint64_t half : halves) {
    for (int shift = 60; shift >= 0; shift -= 4) digest += kDigits[(half >> shift) & 15];
  }
  return digest;
}

const Run* Scheduler::find_run(const std::string& run) const {
  const auto found = state_.runs.find(run);
  return found == state_.runs.end() ? nullptr : &found->second;
}

std::optional<Tick> Scheduler::next_timer_ms() const {
  std::optional<Tick> next;
  for (const auto& [id, run] : state_.runs) {
    if (is_over(run.state)) continue;
    for (const Stage& stage : run.stages) {
      Tick due = 0;
      if (stage.state == StageState::kWaiting) due = stage.not_before_ms;
      if (stage.state == StageState::kRunning && stage.attempts.back().stopping.empty()) due = stage.deadline_ms;
      if (due != 0) next = next ? std::min(*next, due) : due;
    }
  }
  return next;
}

// ---- inputs from callers

bool Step::emit(RecordType type, const std::string& run, const std::string& stage, json body) {
  Record record{type, now_ms_, run, stage, std::move(body)};
  const Status applied = apply(scheduler_.state_, record);
  if (!applied.ok()) {
    refuse(std::string(applied.message()));
    return false;
  }
  result_.records.push_back(std::move(record));
  return true;
}

Run* Step::find_run(const std::string& id) {
  const auto found = scheduler_.state_.runs.find(id);
  return found == scheduler_.state_.runs.end() ? nullptr : &found->second;
}

Stage* Step::find_stage(const std::string& run_id, const std::string& name) {
  Run* run = find_run(run_id);
  if (run == nullptr || is_over(run->state)) return nullptr;
  const auto found = run->index.find(name);
  return found == run->index.end() ? nullptr : &run->stages[found->second];
}

void Step::handle(const RunSubmitted& input) {
  emit(RecordType::kRunSubmitted, input.run, "",
       {{"pipeline", to_json(input.pipeline)},
        {"keys", input.keys},
        {"cacheNotes", input.cache_notes},
        {"useCache", input.use_cache},
        {"options", input.options}});
}

void Step::handle(const ArtifactFound& input) {
  const Stage* stage = find_stage(input.run, input.stage);
  if (stage == nullptr || stage->state != StageState::kLooking || stage->key != input.key) {
    return refuse("nobody looks for an artifact of " + input.run + "/" + input.stage);
  }
  emit(RecordType::kStageCached, input.run, input.stage, {{"summary", input.summary}});
}

void Step::handle(const ArtifactMissing& input) {
  const Stage* stage = find_stage(input.run, input.stage);
  if (stage == nullptr || stage->state != StageState::kLooking || stage->key != input.key) {
    return refuse("nobody looks for an artifact of " + input.run + "/" + input.stage);
  }
  emit(RecordType::kStageReady, input.run, input.stage, json::object());
}

void Step::handle(const CancelRequested& input) {
  Run* run = find_run(input.run);
  if (run == nullptr) return refuse("no run " + input.run);
  if (is_over(run->state)) return refuse("run " + input.run + " is over");
  if (run->state == RunState::kCancelling && !input.force) return refuse("run " + input.run + " is being cancelled");
  if (run->state != RunState::kCancelling) emit(RecordType::kRunCancelling, run->id, "", {{"reason", input.reason}});
  cancel_stages(*run, input.force);
}

void Step::handle(const NodeChanged& input) {
  emit(RecordType::kNodeChanged, "", "",
       {{"node", input.node}, {"cores", input.cores}, {"memoryBytes", input.memory_bytes}, {"alive", input.alive}});
  if (input.alive) return;
  for (auto& [id, run] : scheduler_.state_.runs) {
    for (Stage& stage : run.stages) {
      if (stage.state != StageState::kRunning || stage.attempts.back().node != input.node) continue;
      AttemptFinished lost{.run = id, .stage = stage.plan.name, .epoch = stage.attempts.back().epoch};
      lost.exit_code = static_cast<int>(ExitCode::kPeerLost);
      lost.message = "node " + input.node + " was lost";
      handle(lost);
    }
  }
}

void Step::handle(const TimerFired&) {
  for (auto& [id, run] : scheduler_.state_.runs) {
    if (is_over(run.state)) continue;
    for (Stage& stage : run.stages) {
      if (stage.state == StageState::kWaiting && stage.not_before_ms <= now_ms_) {
        emit(RecordType::kStageReady, id, stage.plan.name, json::object());
      }
      const bool may_time_out = stage.state == StageState::kRunning && stage.deadline_ms != 0;
      if (may_time_out && stage.deadline_ms <= now_ms_ && stage.attempts.back().stopping.empty()) {
        stop(id, stage, "timeout", scheduler_.limits_.stop_grace_ms);
      }
    }
  }
}

void Step::handle(const Restarted&) {
  for (const auto& [id, run] : scheduler_.state_.runs) {
    if (is_over(run.state)) continue;
    for (const Stage& stage : run.stages) {
      const std::string& name = stage.plan.name;
      if (stage.state == StageState::kLooking) result_.actions.push_back(FindArtifact{id, name, stage.key});
      if (stage.state != StageState::kRunning) continue;
      const Attempt& attempt = stage.attempts.back();
      if (!attempt.stopping.empty()) {
        result_.actions.push_back(StopAttempt{id, name, attempt.node, attempt.epoch, scheduler_.limits_.stop_grace_ms});
      } else if (attempt.started_ms == 0) {
        result_.actions.push_back(
            StartAttempt{id, name, attempt.node, attempt.number, attempt.epoch, false, stage.plan.cores});
      }
    }
  }
}

void Step::handle(const RunAbandoned& input) {
  Run* run = find_run(input.run);
  if (run == nullptr) return refuse("no run " + input.run);
  if (is_over(run->state)) return refuse("run " + input.run + " is over");
  for (Stage& stage : run->stages) {
    if (is_over(stage.state)) continue;
    if (stage.state != StageState::kRunning) {
      emit(RecordType::kStageCancelled, run->id, stage.plan.name, {{"reason", input.reason}});
      continue;
    }
    AttemptFinished gone{.run = run->id, .stage = stage.plan.name, .epoch = stage.attempts.back().epoch};
    gone.exit_code = static_cast<int>(ExitCode::kPeerLost);
    gone.message = input.reason;
    finish(run->id, stage, "interrupted", gone);
  }
  emit(RecordType::kRunFinished, run->id, "", {{"state", name_of(RunState::kInterrupted)}, {"reason", input.reason}});
  result_.actions.push_back(RunEnded{run->id, RunState::kInterrupted});
}

}  // namespace gridquant::sched
