// Records as JSON.
#include "coordinator/sched/record.h"

#include <array>
#include <utility>

namespace gridquant::sched {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<RecordType, const char*>, 35> kNames = {{
    {RecordType::kRunSubmitted, "run_submitted"},
    {RecordType::kRunStarted, "run_started"},
    {RecordType::kRunPaused, "run_paused"},
    {RecordType::kRunResumed, "run_resumed"},
    {RecordType::kRunCancelling, "run_cancelling"},
    {RecordType::kRunFinished, "run_finished"},
    {RecordType::kRunDelivered, "run_delivered"},
    {RecordType::kRunDeleted, "run_deleted"},
    {RecordType::kRunErased, "run_erased"},
    {RecordType::kBatchSubmitted, "batch_submitted"},
    {RecordType::kQueueChanged, "queue_changed"},
    {RecordType::kIncarnation, "incarnation"},
    {RecordType::kRequestDone, "request_done"},
    {RecordType::kNodeChanged, "node_changed"},
    {RecordType::kNodeJoined, "node_joined"},
    {RecordType::kNodeLost, "node_lost"},
    {RecordType::kNodeBack, "node_back"},
    {RecordType::kNodeLeaving, "node_leaving"},
    {RecordType::kNodeDraining, "node_draining"},
    {RecordType::kNodeUndrained, "node_undrained"},
    {RecordType::kNodeForgotten, "node_forgotten"},
    {RecordType::kStageLooking, "stage_looking"},
    {RecordType::kStageCached, "stage_cached"},
    {RecordType::kStageReady, "stage_ready"},
    {RecordType::kStageSkipped, "stage_skipped"},
    {RecordType::kStageFailed, "stage_failed"},
    {RecordType::kStageCancelled, "stage_cancelled"},
    {RecordType::kStageReset, "stage_reset"},
    {RecordType::kAttemptGranted, "attempt_granted"},
    {RecordType::kAttemptStarted, "attempt_started"},
    {RecordType::kAttemptStopping, "attempt_stopping"},
    {RecordType::kAttemptFinished, "attempt_finished"},
    {RecordType::kMemberStarted, "member_started"},
    {RecordType::kMemberGone, "member_gone"},
    {RecordType::kSlotQuarantined, "slot_quarantined"},
}};

}  // namespace

const char* name_of(RecordType type) {
  for (const auto& [value, name] : kNames) {
    if (value == type) return name;
  }
  return "";
}

const char* run_state_after(const Record& record) {
  switch (record.type) {
    case RecordType::kRunSubmitted:
      return name_of(record.body.value("queued", false) ? RunState::kQueued : RunState::kRunning);
    case RecordType::kRunStarted:
      return name_of(RunState::kRunning);
    case RecordType::kRunCancelling:
      return name_of(RunState::kCancelling);
    case RecordType::kRunFinished:
      for (const RunState state :
           {RunState::kSucceeded, RunState::kFailed, RunState::kCancelled, RunState::kInterrupted}) {
        if (record.body.value("state", "") == name_of(state)) return name_of(state);
      }
      return nullptr;
    default:
      return nullptr;
  }
}

const char* stage_state_after(const Record& record) {
  switch (record.type) {
    case RecordType::kStageLooking:
      return name_of(StageState::kLooking);
    case RecordType::kStageCached:
      return name_of(StageState::kSucceeded);
    case RecordType::kStageReady:
      return name_of(StageState::kReady);
    case RecordType::kStageSkipped:
      return name_of(StageState::kSkipped);
    case RecordType::kStageFailed:
      return name_of(StageState::kFailed);
    case RecordType::kStageCancelled:
      return name_of(StageState::kCancelled);
    case RecordType::kStageReset:
      return name_of(StageState::kPending);
    case RecordType::kAttemptGranted:
      return name_of(StageState::kRunning);
    case RecordType::kAttemptFinished: {
      const std::string outcome = record.body.value("outcome", "");
      return name_of(outcome == "retry"       ? StageState::kWaiting
                     : outcome == "remake"    ? StageState::kPending
                     : outcome == "succeeded" ? StageState::kSucceeded
                     : outcome == "failed"    ? StageState::kFailed
                                              : StageState::kCancelled);
    }
    default:
      return nullptr;
  }
}

std::pair<Record, Record> remains_of(const Record& deleted) {
  Record last = deleted;
  last.body["erased"] = true;
  last.seq = 0;
  return {{RecordType::kRunErased, deleted.at_ms, "", "", {{"was", deleted.run}}}, std::move(last)};
}

json to_json(const Record& record) {
  json out = {{"type", name_of(record.type)},
              {"at", record.at_ms},
              {"run", record.run},
              {"stage", record.stage},
              {"body", record.body}};
  if (record.seq != 0) out["seq"] = record.seq;
  return out;
}

StatusOr<Record> record_from_json(const json& from) {
  try {
    const std::string type = from.at("type").get<std::string>();
    for (const auto& [value, name] : kNames) {
      if (type != name) continue;
      return Record{value,
                    from.at("at").get<Tick>(),
                    from.at("run").get<std::string>(),
                    from.at("stage").get<std::string>(),
                    from.at("body"),
                    from.value("seq", uint64_t{0})};
    }
    return absl::DataLossError("a record has the unknown type '" + type + "'");
  } catch (const json::exception& error) {
    return absl::DataLossError(std::string("a record cannot be read: ") + error.what());
  }
}

}  // namespace gridquant::sched
