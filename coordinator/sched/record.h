// Records: the only way in which the scheduler's state changes, and what the store keeps. A record says what was
// decided, so that replaying it needs neither the clock nor the condition evaluator.
#pragma once

#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "coordinator/sched/state.h"
#include "engine/base/status.h"

namespace gridquant::sched {

// The body's fields stand behind each type.
enum class RecordType {
  kRunSubmitted,     // pipeline, keys, cacheNotes, useCache, options; batch, queued, retryOf
  kRunStarted,       // (none): of a batch, its turn has come
  kRunPaused,        // (none)
  kRunResumed,       // (none)
  kRunCancelling,    // reason, timedOut
  kRunFinished,      // state, reason
  kRunDelivered,     // error; "": it was
  kRunDeleted,       // lastEpoch, batch; erased: its other records are gone, see remains_of()
  kRunErased,        // was: stands where a deleted run was submitted
  kBatchSubmitted,   // batch, name, maxParallel, failFast; its runs follow
  kQueueChanged,     // queue, cores, gpus, memoryBytes
  kIncarnation,      // epoch: a coordinator has started; lastRun: numbers up to it are taken
  kRequestDone,      // id, digest, result
  kNodeChanged,      // node, cores, memoryBytes, alive: the embedded node
  kNodeJoined,       // node, epoch (its session), home, boot, cores, memoryBytes, gpus, labels
  kNodeLost,         // node, reason
  kNodeBack,         // node
  kNodeLeaving,      // node: its agent ends in order
  kNodeDraining,     // node, deadlineMs
  kNodeUndrained,    // node
  kNodeForgotten,    // node
  kStageLooking,     // (none)
  kStageCached,      // summary
  kStageReady,       // fresh
  kStageSkipped,     // reason
  kStageFailed,      // reason: before any attempt
  kStageCancelled,   // reason
  kStageReset,       // reason, fresh: its artifact is to be made again, or its input is
  kAttemptGranted,   // node, epoch, deadlineMs, members
  kAttemptStarted,   // epoch, pid
  kAttemptStopping,  // epoch, why, graceMs
  kAttemptFinished,  // epoch, outcome, budget, exitCode, errorCode, message, summary, notBeforeMs
  kMemberStarted,    // epoch, node, pid: of the gang's head only
  kMemberGone,       // epoch, node: nothing of the attempt is left there
  kSlotQuarantined,  // epoch, node: what is left there could not be ended
};

struct Record {
  RecordType type = RecordType::kRunSubmitted;
  Tick at_ms = 0;
  std::string run;
  std::string stage;
  nlohmann::json body = nlohmann::json::object();
  uint64_t seq = 0;  // number among the records of its run: 1, 2, ... without gaps; 0 where there is no run
};

const char* name_of(RecordType type);  // "run_submitted", ...
nlohmann::json to_json(const Record& record);
StatusOr<Record> record_from_json(const nlohmann::json& json);  // DataLoss if it is none

// The states that a record leads to, from the record alone (later records of the same transaction may have changed
// them since): of its run, null if it leaves it as it is; of its stage, null if it is about none, or leaves it.
const char* run_state_after(const Record& record);
const char* stage_state_after(const Record& record);

// What is kept of a deleted run, given its run_deleted record: replaying these two in place of all of its records leads
// to the same state. The first stands where the run was submitted, the second where it was deleted.
std::pair<Record, Record> remains_of(const Record& deleted);

// Changes `state` by one record. DataLoss, with nothing changed, if the record cannot follow this state.
Status apply(State& state, const Record& record);

// The transitions of one stage: `apply` refuses every other. tests/unit/sched reads this very table and checks it
// against what apply() accepts for every pair of state and record, so it is what the code does.
//
// | from      | record           | to                                                                 |
// | pending   | stage_looking    | looking                                                            |
// | pending   | stage_ready      | ready                                                              |
// | pending   | stage_skipped    | skipped                                                            |
// | pending   | stage_failed     | failed                                                             |
// | pending   | stage_cancelled  | cancelled                                                          |
// | looking   | stage_cached     | succeeded                                                          |
// | looking   | stage_ready      | ready                                                              |
// | looking   | stage_cancelled  | cancelled                                                          |
// | ready     | attempt_granted  | running                                                            |
// | ready     | stage_failed     | failed                                                             |
// | ready     | stage_cancelled  | cancelled                                                          |
// | running   | attempt_started  | running                                                            |
// | running   | attempt_stopping | running                                                            |
// | running   | attempt_finished | succeeded, failed, waiting, pending, cancelled (by its outcome)    |
// | waiting   | stage_ready      | ready                                                              |
// | waiting   | stage_failed     | failed                                                             |
// | waiting   | stage_cancelled  | cancelled                                                          |
// | succeeded | stage_reset      | pending                                                            |

}  // namespace gridquant::sched
