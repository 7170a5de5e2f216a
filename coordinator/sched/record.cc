// Records as JSON.
#include "coordinator/sched/record.h"

#include <array>
#include <utility>

namespace gridquant::sched {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<RecordType, const char*>, 15> kNames = {{
    {RecordType::kRunSubmitted, "run_submitted"},
    {RecordType::kRunCancelling, "run_cancelling"},
    {RecordType::kRunFinished, "run_finished"},
    {RecordType::kNodeChanged, "node_changed"},
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
}};

}  // namespace

const char* name_of(RecordType type) {
  for (const auto& [value, name] : kNames) {
    if (value == type) return name;
  }
  return "";
}

json to_json(const Record& record) {
  return {{"type", name_of(record.type)},
          {"at", record.at_ms},
          {"run", record.run},
          {"stage", record.stage},
          {"body", record.body}};
}

StatusOr<Record> record_from_json(const json& from) {
  try {
    const std::string type = from.at("type").get<std::string>();
    for (const auto& [value, name] : kNames) {
      if (type != name) continue;
      return Record{value, from.at("at").get<Tick>(), from.at("run").get<std::string>(),
                    from.at("stage").get<std::string>(), from.at("body")};
    }
    return absl::DataLossError("a record has the unknown type '" + type + "'");
  } catch (const json::exception& error) {
    return absl::DataLossError(std::string("a record cannot be read: ") + error.what());
  }
}

}  // namespace gridquant::sched
