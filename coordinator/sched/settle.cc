// What follows from the state without any input: stages whose needs are over are looked up, skipped or made ready; runs
// whose stages are all over end, and the next ones of their batches start.
#include <algorithm>
#include <optional>

#include "coordinator/sched/step.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

const Stage* first_not_succeeded(const Run& run, const std::vector<size_t>& stages) {
  for (const size_t index : stages) {
    if (run.stages[index].state != StageState::kSucceeded) return &run.stages[index];
  }
  return nullptr;
}

std::string upstream_reason(const Stage& upstream) {
  return "stage '" + upstream.plan.name + "' " +
         (upstream.state == StageState::kSkipped     ? "was skipped"
          : upstream.state == StageState::kCancelled ? "was cancelled"
                                                     : "failed");
}

// A fresh one would empty what has been made meanwhile.
bool all_held_back(const State& state, const KeyUse& use) {
  return std::all_of(use.makers.begin(), use.makers.end(), [&](const StageRef& ref) {
    const Run& run = state.runs.at(ref.run);
    const Stage& stage = run.stages[ref.stage];
    const bool starts_later = stage.state == StageState::kReady || stage.state == StageState::kWaiting;
    return run.paused && starts_later && !stage.fresh && stage.fresh_order.empty();
  });
}

// What an `if:` expression sees.
json condition_stages(const Run& run) {
  json stages = json::object();
  for (const Stage& stage : run.stages) {
    if (is_over(stage.state)) stages[stage.plan.name] = {{"state", name_of(stage.state)}, {"summary", stage.summary}};
  }
  return stages;
}

}  // namespace

void Step::advance() {
  do {
    settle_runs();
    settle();
  } while (place() || !scheduler_.state_.index.settle.empty() || !scheduler_.state_.index.ended.empty());
  retire_runs();
}

// The oldest runs that are over make room. Those of a batch stay until all of it is over: it counts its failures.
void Step::retire_runs() {
  const State& state = scheduler_.state_;
  const size_t keep = scheduler_.limits_.keep_runs;
  size_t over = state.runs.size() - state.index.open_runs.size();
  if (keep == 0 || over <= keep) return;
  const bool moved = std::any_of(result_.records.begin(), result_.records.end(), [](const Record& record) {
    return record.type == RecordType::kRunFinished || record.type == RecordType::kRunDelivered ||
           record.type == RecordType::kMemberGone || record.type == RecordType::kIncarnation;
  });
  if (!moved) return;
  std::set<std::string> open_batches;
  for (const std::string& id : state.index.open_runs) open_batches.insert(state.runs.at(id).batch);
  std::set<std::pair<uint64_t, std::string>> oldest;
  for (const auto& [id, run] : state.runs) {
    const bool stays = run.delivery == Delivery::kPending || (!run.batch.empty() && open_batches.contains(run.batch));
    if (!stays && why_not_deleted(run).empty()) oldest.emplace(run.number, id);
  }
  for (auto next = oldest.begin(); next != oldest.end() && over > keep; ++next, --over) {
    erase(state.runs.at(next->second));
  }
}

void Step::settle() {
  std::set<StageRef>& work = scheduler_.state_.index.settle;
  while (!work.empty()) {
    const StageRef ref = *work.begin();
    work.erase(work.begin());
    Run* run = find_run(ref.run);
    // A run that is paused or has not started puts its stages back when it goes on.
    if (run == nullptr || run->state != RunState::kRunning || run->paused) continue;
    if (run->stages[ref.stage].state == StageState::kPending) settle_stage(*run, ref.stage);
  }
}

void Step::settle_stage(Run& run, size_t index) {
  Stage& stage = run.stages[index];
  if (stage.links.open > 0) return;
  if (const Stage* missing = first_not_succeeded(run, stage.inputs); missing != nullptr) {
    emit(RecordType::kStageSkipped, run.id, stage.plan.name, {{"reason", upstream_reason(*missing)}});
    return;
  }
  if (settle_condition(run, stage)) return;
  // Two stages with one key, of whatever runs, make one artifact: the second waits, then finds what the first made.
  // It does not wait for one that a paused run holds back.
  const State& state = scheduler_.state_;
  const auto use = scheduler_.state_.index.keys.find(stage.key);
  if (!stage.key.empty() && use != state.index.keys.end() && !all_held_back(state, use->second)) {
    use->second.waiting.insert({run.id, index});
    return;
  }
  make_ready(run, stage);
}

// True if the stage's condition, or the lack of one, has ended it.
bool Step::settle_condition(Run& run, Stage& stage) {
  const Stage* missing = first_not_succeeded(run, stage.needs);
  if (stage.plan.condition.empty()) {
    if (missing == nullptr) return false;
    return emit(RecordType::kStageSkipped, run.id, stage.plan.name, {{"reason", upstream_reason(*missing)}});
  }
  if (!stage.attempts.empty() || stage.remakes > 0) return false;  // was true before
  const StatusOr<bool> holds = scheduler_.condition_(stage.plan.condition, run.pipeline.params, condition_stages(run));
  if (holds.ok() && *holds) return false;
  if (holds.ok()) {
    return emit(RecordType::kStageSkipped, run.id, stage.plan.name,
                {{"reason", "its condition is false: " + stage.plan.condition}});
  }
  if (missing != nullptr) {  // the condition asks for what only a stage that succeeded has
    return emit(RecordType::kStageSkipped, run.id, stage.plan.name, {{"reason", upstream_reason(*missing)}});
  }
  return emit(RecordType::kStageFailed, run.id, stage.plan.name,
              {{"reason", "its condition cannot be evaluated: " + std::string(holds.status().message())}});
}

void Step::make_ready(Run& run, Stage& stage) {
  // Without the cache a stage is made again, but not what a run that goes on has made or found (this very one, under
  // another name, or another one): stages that are still to come read it.
  const bool needed = scheduler_.state_.index.needed.count(stage.key) != 0;
  const bool look = !stage.key.empty() && !stage.fresh && (run.use_cache || !stage.attempts.empty() || needed);
  if (look) {
    emit(RecordType::kStageLooking, run.id, stage.plan.name, json::object());
    result_.actions.push_back(FindArtifact{run.id, stage.plan.name, stage.key});
  } else {
    emit(RecordType::kStageReady, run.id, stage.plan.name, {{"fresh", true}});
  }
}

// Runs whose stages are all over end; runs of batches start when their turn comes.
void Step::settle_runs() {
  State& state = scheduler_.state_;
  std::set<std::string> batches;
  for (const std::string& id : std::set<std::string>(state.index.ended)) {
    Run& run = *find_run(id);
    if (run.state == RunState::kQueued) continue;
    finish_run(run);
    if (!run.batch.empty()) batches.insert(run.batch);
  }
  state.index.ended.clear();
  for (const Record& record : result_.records) {
    if (record.type == RecordType::kBatchSubmitted) batches.insert(record.body.at("batch").get<std::string>());
  }
  for (const std::string& id : batches) settle_batch(id);
}

void Step::settle_batch(const std::string& id) {
  const Batch& batch = scheduler_.state_.batches.at(id);
  int running = 0;
  std::string failed;
  for (const std::string& name : batch.runs) {
    const Run* run = find_run(name);
    if (run == nullptr) continue;
    running += run->state == RunState::kRunning || run->state == RunState::kCancelling ? 1 : 0;
    if (run->state == RunState::kFailed && failed.empty()) failed = name;
  }
  for (const std::string& name : batch.runs) {
    Run* run = find_run(name);
    if (run == nullptr || is_over(run->state)) continue;
    if (batch.fail_fast && !failed.empty()) {
      if (run->state == RunState::kCancelling) continue;
      cancel(*run, "run " + failed + " of its batch failed (failFast)", false);
    } else if (run->state == RunState::kQueued && (batch.max_parallel == 0 || running < batch.max_parallel)) {
      emit(RecordType::kRunStarted, name, "", json::object());
      ++running;
    }
  }
}

void Step::finish_run(Run& run) {
  bool failed = false, cancelled = false;
  std::string reason;
  for (const Stage& stage : run.stages) {
    cancelled = cancelled || stage.state == StageState::kCancelled;
    if (stage.state == StageState::kFailed && !failed) {
      failed = true;
      reason = "stage '" + stage.plan.name + "' failed: " + stage.reason;
    }
  }
  if (cancelled) reason = run.reason;
  const RunState end = cancelled && run.timed_out ? RunState::kFailed
                       : cancelled                ? RunState::kCancelled
                       : failed                   ? RunState::kFailed
                                                  : RunState::kSucceeded;
  emit(RecordType::kRunFinished, run.id, "", {{"state", name_of(end)}, {"reason", reason}});
  result_.actions.push_back(RunEnded{run.id, end});
}

}  // namespace gridquant::sched
