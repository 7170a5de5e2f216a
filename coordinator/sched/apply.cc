// apply(): one record changes the state. Every check comes before the first change, so a refused record changes
// nothing.
#include <algorithm>

#include "coordinator/sched/pipeline_json.h"
#include "coordinator/sched/record.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

Status refuse(const Record& record, const std::string& why) {
  return absl::DataLossError(std::string("record ") + name_of(record.type) + " of " + record.run + "/" + record.stage +
                             " cannot be applied: " + why);
}

Status apply_run_submitted(State& state, const Record& record) {
  if (state.runs.count(record.run) != 0) return refuse(record, "the run exists");
  Run run;
  GQ_ASSIGN_OR_RETURN(run.pipeline, pipeline_from_json(record.body.at("pipeline")));
  run.id = record.run;
  run.created_ms = record.at_ms;
  run.use_cache = record.body.value("useCache", true);
  run.options = record.body.value("options", json::object());
  const json keys = record.body.value("keys", json::object());
  const json notes = record.body.value("cacheNotes", json::object());
  for (spec::StagePlan& plan : run.pipeline.stages) {
    if (!run.index.emplace(plan.name, run.stages.size()).second) return refuse(record, "two stages " + plan.name);
    Stage stage;
    stage.since_ms = record.at_ms;
    stage.key = keys.value(plan.name, "");
    stage.cache_note = notes.value(plan.name, json());
    stage.plan = std::move(plan);
    run.stages.push_back(std::move(stage));
  }
  run.pipeline.stages.clear();
  for (Stage& stage : run.stages) {
    for (const std::string& need : stage.plan.needs) {
      if (run.index.count(need) == 0) return refuse(record, "unknown stage " + need);
      stage.needs.push_back(run.index.at(need));
    }
    for (const auto& [uses, name] : stage.plan.inputs) {
      if (run.index.count(name) == 0) return refuse(record, "unknown stage " + name);
      stage.inputs.push_back(run.index.at(name));
    }
  }
  state.runs.emplace(record.run, std::move(run));
  return absl::OkStatus();
}

Status apply_run(State& state, const Record& record) {
  const auto found = state.runs.find(record.run);
  if (found == state.runs.end()) return refuse(record, "no such run");
  Run& run = found->second;
  if (is_over(run.state)) return refuse(record, "the run is over");
  const std::string reason = record.body.value("reason", "");
  if (record.type == RecordType::kRunCancelling) {
    run.state = RunState::kCancelling;
    run.reason = reason;
    return absl::OkStatus();
  }
  const std::string to = record.body.value("state", "");
  for (RunState candidate : {RunState::kSucceeded, RunState::kFailed, RunState::kCancelled, RunState::kInterrupted}) {
    if (to != name_of(candidate)) continue;
    run.state = candidate;
    run.reason = reason;
    run.finished_ms = record.at_ms;
    return absl::OkStatus();
  }
  return refuse(record, "unknown run state '" + to + "'");
}

Status apply_node(State& state, const Record& record) {
  state.nodes[record.body.at("node").get<std::string>()] = Node{
      record.body.value("cores", 1), record.body.value("memoryBytes", int64_t{0}), record.body.value("alive", true)};
  return absl::OkStatus();
}

bool may_follow(StageState from, RecordType type) {
  switch (type) {
    case RecordType::kStageLooking:
    case RecordType::kStageSkipped:
      return from == StageState::kPending;
    case RecordType::kStageCached:
      return from == StageState::kLooking;
    case RecordType::kStageReady:
      return from == StageState::kPending || from == StageState::kLooking || from == StageState::kWaiting;
    case RecordType::kStageFailed:
      return from == StageState::kPending || from == StageState::kReady;
    case RecordType::kStageCancelled:
      return !is_over(from) && from != StageState::kRunning;
    case RecordType::kStageReset:
      return from == StageState::kSucceeded;
    case RecordType::kAttemptGranted:
      return from == StageState::kReady;
    case RecordType::kAttemptStarted:
    case RecordType::kAttemptStopping:
    case RecordType::kAttemptFinished:
      return from == StageState::kRunning;
    default:
      return false;
  }
}

void enter(Stage& stage, StageState state, const Record& record) {
  stage.state = state;
  stage.since_ms = record.at_ms;
  stage.reason = record.body.value("reason", "");
}

Status apply_granted(State& state, Stage& stage, const Record& record) {
  const uint64_t epoch = record.body.at("epoch").get<uint64_t>();
  if (epoch <= state.last_epoch) return refuse(record, "its epoch was given before");
  state.last_epoch = epoch;
  enter(stage, StageState::kRunning, record);
  Attempt attempt;
  attempt.number = static_cast<int>(stage.attempts.size()) + 1;
  attempt.epoch = epoch;
  attempt.node = record.body.value("node", "");
  attempt.granted_ms = record.at_ms;
  stage.deadline_ms = record.body.value("deadlineMs", Tick{0});
  stage.fresh = false;
  stage.attempts.push_back(std::move(attempt));
  return absl::OkStatus();
}

Status apply_finished(Stage& stage, const Record& record) {
  Attempt& attempt = stage.attempts.back();
  const std::string outcome = record.body.value("outcome", "");
  const std::pair<const char*, StageState> outcomes[] = {
      {"succeeded", StageState::kSucceeded}, {"failed", StageState::kFailed},
      {"retry", StageState::kWaiting},       {"remake", StageState::kPending},
      {"cancelled", StageState::kCancelled}, {"interrupted", StageState::kCancelled}};
  const auto* found = std::find_if(std::begin(outcomes), std::end(outcomes),
                                   [&](const auto& candidate) { return outcome == candidate.first; });
  if (found == std::end(outcomes)) return refuse(record, "unknown outcome '" + outcome + "'");
  attempt.outcome = outcome;
  attempt.finished_ms = record.at_ms;
  attempt.exit_code = record.body.value("exitCode", 0);
  attempt.error_code = record.body.value("errorCode", "");
  attempt.message = record.body.value("message", "");
  enter(stage, found->second, record);
  stage.reason = attempt.message;
  stage.deadline_ms = 0;
  stage.cached = false;
  if (outcome == "succeeded") stage.summary = record.body.value("summary", json::object());
  if (outcome == "retry") {
    ++stage.infrastructure_failures;
    stage.not_before_ms = record.body.value("notBeforeMs", Tick{0});
  }
  if (outcome == "remake") {
    ++stage.remakes;
    stage.fresh = record.body.value("fresh", false);
  }
  return absl::OkStatus();
}

Status apply_attempt(State& state, Stage& stage, const Record& record) {
  if (record.type == RecordType::kAttemptGranted) return apply_granted(state, stage, record);
  Attempt& attempt = stage.attempts.back();
  if (record.body.at("epoch").get<uint64_t>() != attempt.epoch)
    return refuse(record, "its epoch is not the current one");
  if (record.type == RecordType::kAttemptStarted) {
    attempt.started_ms = record.at_ms;
    attempt.pid = record.body.value("pid", int64_t{0});
    return absl::OkStatus();
  }
  if (record.type == RecordType::kAttemptStopping) {
    attempt.stopping = record.body.value("why", "cancelled");
    return absl::OkStatus();
  }
  return apply_finished(stage, record);
}

Status apply_stage(State& state, const Record& record) {
  const auto run = state.runs.find(record.run);
  if (run == state.runs.end()) return refuse(record, "no such run");
  if (is_over(run->second.state)) return refuse(record, "the run is over");
  const auto index = run->second.index.find(record.stage);
  if (index == run->second.index.end()) return refuse(record, "no such stage");
  Stage& stage = run->second.stages[index->second];
  if (!may_follow(stage.state, record.type)) return refuse(record, std::string("the stage is ") + name_of(stage.state));
  switch (record.type) {
    case RecordType::kStageLooking:
      enter(stage, StageState::kLooking, record);
      break;
    case RecordType::kStageCached:
      enter(stage, StageState::kSucceeded, record);
      stage.cached = true;
      stage.summary = record.body.value("summary", json::object());
      break;
    case RecordType::kStageReady:
      enter(stage, StageState::kReady, record);
      stage.fresh = stage.fresh || record.body.value("fresh", false);
      break;
    case RecordType::kStageSkipped:
      enter(stage, StageState::kSkipped, record);
      break;
    case RecordType::kStageFailed:
      enter(stage, StageState::kFailed, record);
      break;
    case RecordType::kStageCancelled:
      enter(stage, StageState::kCancelled, record);
      break;
    case RecordType::kStageReset:
      enter(stage, StageState::kPending, record);
      stage.cached = false;
      stage.fresh = record.body.value("fresh", true);
      ++stage.remakes;
      break;
    default:
      return apply_attempt(state, stage, record);
  }
  return absl::OkStatus();
}

}  // namespace

Status apply(State& state, const Record& record) {
  try {
    switch (record.type) {
      case RecordType::kRunSubmitted:
        return apply_run_submitted(state, record);
      case RecordType::kRunCancelling:
      case RecordType::kRunFinished:
        return apply_run(state, record);
      case RecordType::kNodeChanged:
        return apply_node(state, record);
      default:
        return apply_stage(state, record);
    }
  } catch (const json::exception& error) {
    return refuse(record, error.what());
  }
}

}  // namespace gridquant::sched
