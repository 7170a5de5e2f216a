// What time alone brings about: back-offs that are over, attempts, stages and runs that took too long, nodes that are
// silent, drains that have waited enough.
#include "coordinator/sched/links.h"
#include "coordinator/sched/step.h"

namespace gridquant::sched {

void Step::handle(const TimerFired&) {
  std::vector<StageRef> due;
  for (const auto& [at, ref] : scheduler_.state_.index.timers) {
    if (at > now_ms_) break;
    due.push_back(ref);
  }
  for (const StageRef& ref : due) fire(ref);
  std::vector<std::string> silent, drained;
  for (const auto& [name, node] : scheduler_.state_.nodes) {
    if (node.session == 0 || !node.alive) continue;
    if (scheduler_.heard_[name].at_ms + scheduler_.limits_.node_lease_ms <= now_ms_) silent.push_back(name);
    if (node.draining && node.drain_deadline_ms != 0 && node.drain_deadline_ms <= now_ms_) drained.push_back(name);
  }
  for (const std::string& name : silent) lose_node(name, "nothing was heard of it for its whole lease");
  for (const std::string& name : drained) {
    const std::set<uint64_t> leases = scheduler_.state_.nodes[name].used.leases;
    for (const uint64_t epoch : leases) {
      Stage* stage = undecided(epoch);
      if (stage == nullptr || !stage->attempts.back().stopping.empty()) continue;
      stop(scheduler_.state_.leases.at(epoch).run, *stage, "drained", scheduler_.limits_.stop_grace_ms);
    }
    emit(RecordType::kNodeDraining, "", "", {{"node", name}, {"deadlineMs", 0}});  // it has passed
  }
}

void Step::fire(const StageRef& ref) {
  Run* run = find_run(ref.run);
  if (run == nullptr || is_over(run->state)) return;
  if (ref.stage == kWholeRun) {
    const std::string reason =
        "it took longer than its deadline of " + std::to_string(run->pipeline.deadline_ms / 1000) + " s";
    emit(RecordType::kRunCancelling, run->id, "", {{"reason", reason}, {"timedOut", true}});
    return cancel_stages(*run, false);
  }
  Stage& stage = run->stages[ref.stage];
  if (stage.state == StageState::kRunning) return fire_running(*run, stage);
  const int64_t deadline_ms = stage.plan.deadline_ms;
  if (deadline_ms > 0 && stage.queued_ms + deadline_ms <= now_ms_) {
    emit(RecordType::kStageFailed, run->id, stage.plan.name,
         {{"reason", "its deadline of " + std::to_string(deadline_ms / 1000) + " s has passed"}});
  } else if (stage.state == StageState::kWaiting && stage.not_before_ms <= now_ms_) {
    emit(RecordType::kStageReady, run->id, stage.plan.name, nlohmann::json::object());
  } else if (stage.state == StageState::kReady) {
    shrink_timer_fired(scheduler_.state_, *run, ref.stage);  // place() sees that the time has come
  }
}

void Step::fire_running(Run& run, Stage& stage) {
  const int64_t grace_ms = scheduler_.limits_.stop_grace_ms;
  const Attempt& attempt = stage.attempts.back();
  if (!attempt.stopping.empty()) return;
  if (stage.deadline_ms != 0 && stage.deadline_ms <= now_ms_) return stop(run.id, stage, "timeout", grace_ms);
  if (stage.plan.deadline_ms > 0 && stage.queued_ms + stage.plan.deadline_ms <= now_ms_) {
    return stop(run.id, stage, "deadline", grace_ms);
  }
  if (attempt.started_ms == 0) stop(run.id, stage, "start", grace_ms);
}

}  // namespace gridquant::sched
