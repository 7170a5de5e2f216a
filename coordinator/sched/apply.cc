// apply(): one record changes the state. Every check comes before the first change, so a refused record changes
// nothing. Here: the records about runs, batches, queues and requests.
#include <algorithm>

#include "coordinator/sched/links.h"
#include "coordinator/sched/pipeline_json.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

Status apply_run_submitted(State& state, const Record& record) {
  if (state.runs.count(record.run) != 0) return refuse(record, "the run exists");
  Run run;
  GQ_ASSIGN_OR_RETURN(run.pipeline, pipeline_from_json(record.body.at("pipeline")));
  run.id = record.run;
  run.created_ms = record.at_ms;
  run.use_cache = record.body.value("useCache", true);
  run.options = record.body.value("options", json::object());
  run.batch = record.body.value("batch", "");
  run.retry_of = record.body.value("retryOf", "");
  if (record.body.value("queued", false)) {
    run.state = RunState::kQueued;
  } else {
    run.started_ms = record.at_ms;
  }
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
  run.number = ++state.last_run;
  if (const auto batch = state.batches.find(run.batch); batch != state.batches.end()) {
    batch->second.runs.push_back(run.id);
  }
  link_run(state, state.runs.emplace(record.run, std::move(run)).first->second);
  return absl::OkStatus();
}

Status end_run(State& state, Run& run, const Record& record) {
  const std::string to = record.body.value("state", "");
  for (RunState candidate : {RunState::kSucceeded, RunState::kFailed, RunState::kCancelled, RunState::kInterrupted}) {
    if (to != name_of(candidate)) continue;
    run.state = candidate;
    if (candidate == RunState::kSucceeded) run.delivery = Delivery::kPending;
    run.paused = false;
    run.reason = record.body.value("reason", "");
    run.finished_ms = record.at_ms;
    run_moved(state, run);
    return absl::OkStatus();
  }
  return refuse(record, "unknown run state '" + to + "'");
}

Status apply_run(State& state, const Record& record) {
  const auto found = state.runs.find(record.run);
  if (found == state.runs.end()) return refuse(record, "no such run");
  Run& run = found->second;
  if (is_over(run.state)) return refuse(record, "the run is over");
  switch (record.type) {
    case RecordType::kRunStarted:
      if (run.state != RunState::kQueued) return refuse(record, "the run has started");
      run.state = RunState::kRunning;
      run.started_ms = record.at_ms;
      break;
    case RecordType::kRunPaused:
    case RecordType::kRunResumed:
      run.paused = record.type == RecordType::kRunPaused;
      break;
    case RecordType::kRunCancelling:
      run.state = RunState::kCancelling;
      run.reason = record.body.value("reason", "");
      run.timed_out = record.body.value("timedOut", false);
      break;
    default:
      return end_run(state, run, record);
  }
  run_moved(state, run);
  return absl::OkStatus();
}

Status apply_delivered(State& state, const Record& record) {
  const auto found = state.runs.find(record.run);
  if (found == state.runs.end()) return refuse(record, "no such run");
  Run& run = found->second;
  if (run.delivery != Delivery::kPending) return refuse(record, "it waits for no delivery");
  run.delivery_error = record.body.value("error", "");
  run.delivery = run.delivery_error.empty() ? Delivery::kDone : Delivery::kFailed;
  run_moved(state, run);
  return absl::OkStatus();
}

void leave_batch(State& state, const std::string& id, const std::string& run) {
  const auto batch = state.batches.find(id);
  if (batch == state.batches.end()) return;
  std::erase(batch->second.runs, run);
  if (batch->second.runs.empty()) state.batches.erase(batch);
}

// Of its records only two are left: it has never been there, but for the numbers that it took.
void apply_erased(State& state, const Record& deleted) {
  state.last_epoch = std::max(state.last_epoch, deleted.body.value("lastEpoch", uint64_t{0}));
  leave_batch(state, deleted.body.value("batch", ""), deleted.run);
}

Status apply_deleted(State& state, const Record& record) {
  const auto found = state.runs.find(record.run);
  const bool erased = record.body.value("erased", false);
  if (erased != (found == state.runs.end())) return refuse(record, erased ? "the run exists" : "no such run");
  if (erased) {
    apply_erased(state, record);
    return absl::OkStatus();
  }
  if (!is_over(found->second.state)) return refuse(record, "the run is not over");
  for (const Stage& stage : found->second.stages) {
    if (!stage.links.leases.empty()) return refuse(record, "something of it still runs");
  }
  unlink_run(state, found->second);
  leave_batch(state, found->second.batch, record.run);
  state.runs.erase(found);
  return absl::OkStatus();
}

Status apply_batch(State& state, const Record& record) {
  const std::string id = record.body.at("batch").get<std::string>();
  if (state.batches.count(id) != 0) return refuse(record, "the batch exists");
  state.batches[id] = {
      record.body.value("name", ""), {}, record.body.value("maxParallel", 0), record.body.value("failFast", false)};
  return absl::OkStatus();
}

Status apply_queue(State& state, const Record& record) {
  state.queues[record.body.at("queue").get<std::string>()] = {
      record.body.value("cores", 0), record.body.value("gpus", 0), record.body.value("memoryBytes", int64_t{0})};
  return absl::OkStatus();
}

Status apply_request(State& state, const Record& record) {
  const std::string id = record.body.at("id").get<std::string>();
  if (state.requests.count(id) != 0) return refuse(record, "the request was answered before");
  state.requests[id] = {record.body.value("digest", ""), record.body.value("result", "")};
  state.request_order.push_back(id);
  if (state.request_order.size() > kMaxRequests) {
    state.requests.erase(state.request_order.front());
    state.request_order.pop_front();
  }
  return absl::OkStatus();
}

Status dispatch(State& state, const Record& record) {
  switch (record.type) {
    case RecordType::kRunSubmitted:
      return apply_run_submitted(state, record);
    case RecordType::kRunStarted:
    case RecordType::kRunPaused:
    case RecordType::kRunResumed:
    case RecordType::kRunCancelling:
    case RecordType::kRunFinished:
      return apply_run(state, record);
    case RecordType::kRunDelivered:
      return apply_delivered(state, record);
    case RecordType::kRunDeleted:
      return apply_deleted(state, record);
    case RecordType::kRunErased:
      ++state.last_run;
      return absl::OkStatus();
    case RecordType::kBatchSubmitted:
      return apply_batch(state, record);
    case RecordType::kQueueChanged:
      return apply_queue(state, record);
    case RecordType::kRequestDone:
      return apply_request(state, record);
    case RecordType::kIncarnation:
    case RecordType::kNodeChanged:
    case RecordType::kNodeJoined:
    case RecordType::kNodeLost:
    case RecordType::kNodeBack:
    case RecordType::kNodeLeaving:
    case RecordType::kNodeDraining:
    case RecordType::kNodeUndrained:
    case RecordType::kNodeForgotten:
      return apply_node(state, record);
    case RecordType::kMemberStarted:
    case RecordType::kMemberGone:
    case RecordType::kSlotQuarantined:
      return apply_member(state, record);
    default:
      return apply_stage(state, record);
  }
}

}  // namespace

Status refuse(const Record& record, const std::string& why) {
  return absl::DataLossError(std::string("record ") + name_of(record.type) + " of " + record.run + "/" + record.stage +
                             " cannot be applied: " + why);
}

Status apply(State& state, const Record& record) {
  try {
    const auto before = state.runs.find(record.run);
    const uint64_t events = before == state.runs.end() ? 0 : before->second.events;
    if (record.seq != 0 && record.seq != events + 1) {
      return refuse(record, "its number is " + std::to_string(record.seq) + ", after " + std::to_string(events));
    }
    GQ_RETURN_IF_ERROR(dispatch(state, record));
    const auto after = state.runs.find(record.run);
    if (after != state.runs.end()) after->second.events = events + 1;
    return absl::OkStatus();
  } catch (const json::exception& error) {
    return refuse(record, error.what());
  }
}

}  // namespace gridquant::sched
