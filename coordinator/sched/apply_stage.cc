// Records about one stage: its states and its attempts. See the table in record.h.
#include <algorithm>

#include "coordinator/sched/links.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

struct At {  // the stage that a record is about
  State& state;
  Run& run;
  size_t index;
  Stage& stage() const { return run.stages[index]; }
};

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
      return from == StageState::kPending || from == StageState::kReady || from == StageState::kWaiting;
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

void enter(const At& at, StageState to, const Record& record) {
  Stage& stage = at.stage();
  const StageState from = stage.state;
  stage.state = to;
  stage.since_ms = record.at_ms;
  stage.reason = record.body.value("reason", "");
  if (to == StageState::kReady && stage.queued_ms == 0) stage.queued_ms = record.at_ms;
  stage_moved(at.state, at.run, at.index, from);
}

Member member_from(const json& body) {
  Member member;
  member.node = body.at("node").get<std::string>();
  member.session = body.value("session", uint64_t{0});
  member.ranks = body.value("ranks", 1);
  member.cores = body.value("cores", 0);
  member.memory_bytes = body.value("memoryBytes", int64_t{0});
  member.gpus = body.value("gpus", uint64_t{0});
  return member;
}

Status apply_granted(const At& at, const Record& record) {
  const uint64_t epoch = record.body.at("epoch").get<uint64_t>();
  if (epoch <= at.state.last_epoch) return refuse(record, "its epoch was given before");
  Lease lease{.run = at.run.id,
              .stage = at.index,
              .members = {},
              .stopping = {},
              .grace_ms = 0,
              .fresh = {}};
  if (record.body.contains("members")) {
    for (const json& member : record.body.at("members")) lease.members.push_back(member_from(member));
  } else {  // written before there were gangs
    lease.members.push_back(member_from(record.body));
  }
  if (lease.members.empty()) return refuse(record, "nobody runs it");
  Stage& stage = at.stage();
  if (record.body.value("fresh", false)) {  // an epoch alone may come again where state.db was deleted
    stage.fresh_order = std::to_string(epoch) + "-" + std::to_string(record.at_ms);
  }
  lease.fresh = stage.fresh_order;
  at.state.last_epoch = epoch;
  Attempt attempt;
  attempt.number = static_cast<int>(stage.attempts.size()) + 1;
  attempt.epoch = epoch;
  attempt.node = lease.members[0].node;
  attempt.ranks = 0;
  for (const Member& member : lease.members) attempt.ranks += member.ranks;
  attempt.granted_ms = record.at_ms;
  stage.deadline_ms = record.body.value("deadlineMs", Tick{0});
  stage.fresh = false;
  stage.attempts.push_back(std::move(attempt));
  at.state.leases.emplace(epoch, std::move(lease));
  hold(at.state, epoch);
  enter(at, StageState::kRunning, record);
  return absl::OkStatus();
}

void count_failure(Stage& stage, const Record& record) {
  const std::string budget = record.body.value("budget", "infrastructure");
  ++(budget == "node" ? stage.node_losses : budget == "drain" ? stage.drains : stage.infrastructure_failures);
  stage.not_before_ms = record.body.value("notBeforeMs", Tick{0});
}

Status apply_finished(const At& at, const Record& record) {
  Stage& stage = at.stage();
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
  stage.deadline_ms = 0;
  stage.cached = false;
  if (outcome == "succeeded") stage.summary = record.body.value("summary", json::object());
  if (outcome == "retry") count_failure(stage, record);
  if (outcome == "remake") {
    ++stage.remakes;
    stage.fresh = record.body.value("fresh", false);
  }
  const auto lease = at.state.leases.find(attempt.epoch);
  if (lease != at.state.leases.end()) {
    lease->second.stopping = "over";
    lease->second.grace_ms = record.body.value("graceMs", int64_t{0});
    if (lease->second.embedded()) let_go(at.state, attempt.epoch, attempt.node);
  }
  enter(at, found->second, record);
  stage.reason = stage.attempts.back().message;
  return absl::OkStatus();
}

Status apply_attempt(const At& at, const Record& record) {
  if (record.type == RecordType::kAttemptGranted) return apply_granted(at, record);
  Attempt& attempt = at.stage().attempts.back();
  if (record.body.at("epoch").get<uint64_t>() != attempt.epoch)
    return refuse(record, "its epoch is not the current one");
  if (record.type == RecordType::kAttemptFinished) return apply_finished(at, record);
  if (record.type == RecordType::kAttemptStarted) {
    attempt.started_ms = record.at_ms;
    attempt.pid = record.body.value("pid", int64_t{0});
    if (const auto lease = at.state.leases.find(attempt.epoch); lease != at.state.leases.end()) {
      for (Member& member : lease->second.members) {
        if (member.state == Member::State::kGranted) member.state = Member::State::kStarted;
      }
    }
  } else {
    attempt.stopping = record.body.value("why", "cancelled");
    const auto lease = at.state.leases.find(attempt.epoch);
    if (lease != at.state.leases.end()) {
      lease->second.stopping = attempt.stopping;
      lease->second.grace_ms = record.body.value("graceMs", int64_t{0});
    }
  }
  refresh_stage(at.state, at.run, at.index);
  return absl::OkStatus();
}

}  // namespace

Status apply_stage(State& state, const Record& record) {
  const auto run = state.runs.find(record.run);
  if (run == state.runs.end()) return refuse(record, "no such run");
  if (is_over(run->second.state)) return refuse(record, "the run is over");
  const auto index = run->second.index.find(record.stage);
  if (index == run->second.index.end()) return refuse(record, "no such stage");
  const At at{state, run->second, index->second};
  Stage& stage = at.stage();
  if (!may_follow(stage.state, record.type)) return refuse(record, std::string("the stage is ") + name_of(stage.state));
  switch (record.type) {
    case RecordType::kStageLooking:
      enter(at, StageState::kLooking, record);
      break;
    case RecordType::kStageCached:
      stage.cached = true;
      stage.summary = record.body.value("summary", json::object());
      enter(at, StageState::kSucceeded, record);
      break;
    case RecordType::kStageReady:
      stage.fresh = stage.fresh || record.body.value("fresh", false);
      enter(at, StageState::kReady, record);
      break;
    case RecordType::kStageSkipped:
      enter(at, StageState::kSkipped, record);
      break;
    case RecordType::kStageFailed:
      enter(at, StageState::kFailed, record);
      break;
    case RecordType::kStageCancelled:
      enter(at, StageState::kCancelled, record);
      break;
    case RecordType::kStageReset:
      stage.cached = false;
      stage.fresh = record.body.value("fresh", true);
      ++stage.remakes;
      enter(at, StageState::kPending, record);
      break;
    default:
      return apply_attempt(at, record);
  }
  return absl::OkStatus();
}

}  // namespace gridquant::sched
