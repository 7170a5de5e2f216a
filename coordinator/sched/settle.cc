// What follows from the state without any input: stages whose needs are over are looked up, skipped or made ready;
// ready ones are placed on a node with room; runs whose stages are all over end.
#include <algorithm>
#include <optional>

#include "coordinator/sched/step.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

bool is_in_flight(StageState state) {
  return state == StageState::kLooking || state == StageState::kReady || state == StageState::kRunning ||
         state == StageState::kWaiting;
}

const Stage* first_not_succeeded(const Run& run, const std::vector<size_t>& stages) {
  for (const size_t index : stages) {
    if (run.stages[index].state != StageState::kSucceeded) return &run.stages[index];
  }
  return nullptr;
}

bool all_over(const Run& run, const std::vector<size_t>& stages) {
  return std::all_of(stages.begin(), stages.end(), [&](size_t index) { return is_over(run.stages[index].state); });
}

std::string upstream_reason(const Stage& upstream) {
  return "stage '" + upstream.plan.name + "' " +
         (upstream.state == StageState::kSkipped     ? "was skipped"
          : upstream.state == StageState::kCancelled ? "was cancelled"
                                                     : "failed");
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
    settle();
  } while (place());
  finish_runs();
}

void Step::settle() {
  std::set<std::string> busy_keys;
  for (const auto& [id, run] : scheduler_.state_.runs) {
    if (is_over(run.state)) continue;
    for (const Stage& stage : run.stages) {
      if (is_in_flight(stage.state)) busy_keys.insert(stage.key);
    }
  }
  for (auto& [id, run] : scheduler_.state_.runs) {
    if (run.state != RunState::kRunning) continue;
    while (settle_run(run, busy_keys)) {
    }
  }
}

bool Step::settle_run(Run& run, std::set<std::string>& busy_keys) {
  bool changed = false;
  for (Stage& stage : run.stages) {
    if (stage.state == StageState::kPending) changed |= settle_stage(run, stage, busy_keys);
  }
  return changed;
}

bool Step::settle_stage(Run& run, Stage& stage, std::set<std::string>& busy_keys) {
  if (!all_over(run, stage.needs) || !all_over(run, stage.inputs)) return false;
  if (const Stage* missing = first_not_succeeded(run, stage.inputs); missing != nullptr) {
    return emit(RecordType::kStageSkipped, run.id, stage.plan.name, {{"reason", upstream_reason(*missing)}});
  }
  if (settle_condition(run, stage)) return true;
  // Two stages with one key would write into one folder: the second waits, then finds what the first has made.
  if (!stage.key.empty() && !busy_keys.insert(stage.key).second) return false;
  make_ready(run, stage);
  return true;
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
  // Without the cache a stage is made again, unless this very run has made the same thing under another name.
  const bool made_here = std::any_of(run.stages.begin(), run.stages.end(), [&](const Stage& other) {
    return &other != &stage && other.key == stage.key && other.state == StageState::kSucceeded;
  });
  const bool look = !stage.key.empty() && !stage.fresh && (run.use_cache || made_here || !stage.attempts.empty());
  if (look) {
    emit(RecordType::kStageLooking, run.id, stage.plan.name, json::object());
    result_.actions.push_back(FindArtifact{run.id, stage.plan.name, stage.key});
  } else {
    emit(RecordType::kStageReady, run.id, stage.plan.name, {{"fresh", true}});
  }
}

// True if a stage failed because no node can ever run it: then others may have to be settled again.
bool Step::place() {
  used_.clear();
  keys_being_read_.clear();
  for (const auto& [id, run] : scheduler_.state_.runs) {
    for (const Stage& stage : run.stages) {
      if (stage.state != StageState::kRunning) continue;
      const std::string& name = stage.attempts.back().node;
      Used& used = used_[name];
      const auto node = scheduler_.state_.nodes.find(name);
      const int all = node == scheduler_.state_.nodes.end() ? 0 : node->second.cores;
      used.cores += stage.plan.cores == 0 ? all : std::min(stage.plan.cores, all);
      used.memory_bytes += stage.plan.memory_bytes;
      for (const size_t index : stage.inputs) keys_being_read_.insert(run.stages[index].key);
    }
  }
  bool failed = false;
  for (auto& [id, run] : scheduler_.state_.runs) {
    if (run.state != RunState::kRunning) continue;
    for (Stage& stage : run.stages) {
      if (stage.state == StageState::kReady) failed |= !place_stage(run, stage);
    }
  }
  return failed;
}

// False if no node could ever run the stage, which has failed then.
bool Step::place_stage(Run& run, Stage& stage) {
  if (stage.fresh && keys_being_read_.count(stage.key) != 0) return true;  // not under a reader's feet
  int64_t largest = 0;
  bool any_alive = false;
  for (const auto& [name, node] : scheduler_.state_.nodes) {
    if (!node.alive) continue;
    any_alive = true;
    largest = std::max(largest, node.memory_bytes);
    // More cores than a node has means all of them: a pipeline written for a larger machine still runs.
    const int cores = stage.plan.cores == 0 ? node.cores : std::min(stage.plan.cores, node.cores);
    Used& used = used_[name];
    if (used.cores + cores > node.cores || used.memory_bytes + stage.plan.memory_bytes > node.memory_bytes) continue;
    const uint64_t epoch = scheduler_.state_.last_epoch + 1;
    const bool fresh = stage.fresh;
    const Tick deadline = stage.plan.timeout_ms > 0 ? now_ms_ + stage.plan.timeout_ms : 0;
    if (!emit(RecordType::kAttemptGranted, run.id, stage.plan.name,
              {{"node", name}, {"epoch", epoch}, {"deadlineMs", deadline}})) {
      return true;
    }
    used.cores += cores;
    used.memory_bytes += stage.plan.memory_bytes;
    for (const size_t index : stage.inputs) keys_being_read_.insert(run.stages[index].key);
    result_.actions.push_back(
        StartAttempt{run.id, stage.plan.name, name, stage.attempts.back().number, epoch, fresh, stage.plan.cores});
    return true;
  }
  if (!any_alive || stage.plan.memory_bytes <= largest) return true;  // room will come
  emit(RecordType::kStageFailed, run.id, stage.plan.name,
       {{"reason", "it asks for " + std::to_string(stage.plan.memory_bytes >> 20) + " MiB of memory, and the largest " +
                       "node has " + std::to_string(largest >> 20) + " MiB: lower resources.memory"}});
  return false;
}

void Step::finish_runs() {
  for (auto& [id, run] : scheduler_.state_.runs) {
    if (is_over(run.state)) continue;
    bool all = true, failed = false, cancelled = false;
    std::string reason;
    for (const Stage& stage : run.stages) {
      all = all && is_over(stage.state);
      cancelled = cancelled || stage.state == StageState::kCancelled;
      if (stage.state == StageState::kFailed && !failed) {
        failed = true;
        reason = "stage '" + stage.plan.name + "' failed: " + stage.reason;
      }
    }
    if (!all) continue;
    const RunState end = cancelled ? RunState::kCancelled : failed ? RunState::kFailed : RunState::kSucceeded;
    if (cancelled) reason = run.reason;
    emit(RecordType::kRunFinished, id, "", {{"state", name_of(end)}, {"reason", reason}});
    result_.actions.push_back(RunEnded{id, end});
  }
}

}  // namespace gridquant::sched
