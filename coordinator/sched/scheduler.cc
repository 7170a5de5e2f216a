// The scheduler's outside: step, replay, timers; and the handlers of what comes from the embedded driver.
#include "coordinator/sched/scheduler.h"

#include <algorithm>

#include "coordinator/sched/links.h"
#include "coordinator/sched/requests.h"
#include "coordinator/sched/step.h"

namespace gridquant::sched {

using nlohmann::json;

Scheduler::Scheduler(ConditionFn condition, Limits limits) : condition_(std::move(condition)), limits_(limits) {
  state_.index.timing = limits_.timing;
}

StepResult Scheduler::step(const Input& input, Tick now_ms) {
  Step step(*this, now_ms);
  const std::string request = request_of(input);
  const std::string digest = request.empty() ? "" : content_digest(input);
  if (request.empty() || !step.answered(request, digest)) {
    std::visit([&](const auto& value) { step.handle(value); }, input);
    if (!request.empty()) step.answer(request, digest);
    step.advance();
  }
  step.sync_nodes();
  return step.take();
}

StatusOr<Scheduler> Scheduler::replay(std::span<const Record> records, ConditionFn condition, Limits limits) {
  Scheduler scheduler(std::move(condition), limits);
  for (const Record& record : records) GQ_RETURN_IF_ERROR(apply(scheduler.state_, record));
  return scheduler;
}

const Run* Scheduler::find_run(const std::string& run) const {
  const auto found = state_.runs.find(run);
  return found == state_.runs.end() ? nullptr : &found->second;
}

std::optional<Tick> Scheduler::next_timer_ms() const {
  std::optional<Tick> next;
  const auto at = [&](Tick due) { next = next ? std::min(*next, due) : due; };
  if (!state_.index.timers.empty()) at(state_.index.timers.begin()->first);
  for (const auto& [name, node] : state_.nodes) {
    if (node.session == 0 || !node.alive) continue;
    const auto heard = heard_.find(name);
    at((heard == heard_.end() ? 0 : heard->second.at_ms) + limits_.node_lease_ms);
    if (node.draining && node.drain_deadline_ms != 0 && !node.used.leases.empty()) at(node.drain_deadline_ms);
  }
  return next;
}

bool Step::emit(RecordType type, const std::string& run, const std::string& stage, json body) {
  Record record{type, now_ms_, run, stage, std::move(body)};
  if (const Run* of = find_run(run)) record.seq = of->events + 1;
  if (type == RecordType::kRunSubmitted) record.seq = 1;
  const auto epoch = record.body.find("epoch");
  const uint64_t about = epoch == record.body.end() ? 0 : epoch->get<uint64_t>();
  touch_lease(about);
  const Status applied = apply(scheduler_.state_, record);
  if (!applied.ok()) {
    refuse(std::string(applied.message()));
    return false;
  }
  touch_lease(about);
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

void Step::handle(const NodeChanged& input) {
  emit(RecordType::kNodeChanged, "", "",
       {{"node", input.node}, {"cores", input.cores}, {"memoryBytes", input.memory_bytes}, {"alive", input.alive}});
  if (input.alive) return;
  const std::set<uint64_t> leases = scheduler_.state_.nodes[input.node].used.leases;
  for (const uint64_t epoch : leases) lose_attempt(epoch, "node " + input.node + " is gone");
}

void Step::handle(const Restarted& input) {
  json body = {{"epoch", std::max(scheduler_.state_.last_epoch + 1, input.first_epoch)}};
  if (input.last_run > scheduler_.state_.last_run) body["lastRun"] = input.last_run;
  emit(RecordType::kIncarnation, "", "", std::move(body));
  scheduler_.heard_.clear();
  scheduler_.sent_.clear();
  scheduler_.revision_ = 0;
  for (const auto& [name, node] : scheduler_.state_.nodes) {
    if (node.session != 0) scheduler_.heard_[name].at_ms = now_ms_ + scheduler_.limits_.node_return_ms;
    touched_.insert(name);
  }
  for (const std::string& id : scheduler_.state_.index.open_runs) {
    for (const Stage& stage : find_run(id)->stages) {
      const std::string& name = stage.plan.name;
      if (stage.state == StageState::kLooking) result_.actions.push_back(FindArtifact{id, name, stage.key});
    }
  }
  for (const auto& [id, run] : scheduler_.state_.runs) {
    if (run.delivery == Delivery::kPending) result_.actions.push_back(RunEnded{id, run.state});
  }
  for (const auto& [epoch, lease] : scheduler_.state_.leases) {
    if (!lease.embedded()) continue;
    const Stage& stage = find_run(lease.run)->stages[lease.stage];
    const std::string& node = lease.members[0].node;
    if (!lease.stopping.empty()) {
      result_.actions.push_back(StopAttempt{lease.run, stage.plan.name, node, epoch, lease.grace_ms});
    } else if (stage.attempts.back().started_ms == 0) {
      result_.actions.push_back(StartAttempt{lease.run, stage.plan.name, node, stage.attempts.back().number, epoch,
                                             lease.fresh, stage.plan.cores});
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
