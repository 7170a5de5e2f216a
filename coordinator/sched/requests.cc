// What people ask for: submit, cancel, pause, retry, delete, drain, quotas; each once per request id.
#include "coordinator/sched/requests.h"

#include "coordinator/sched/pipeline_json.h"
#include "coordinator/sched/step.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

json content(const RunSubmitted& input) {
  if (!input.request_content.empty()) return {"submit", input.request_content};
  return {"submit", to_json(input.pipeline), input.keys, input.options, input.use_cache};
}
json content(const BatchSubmitted& input) {
  if (!input.request_content.empty()) return {"submit", input.request_content};
  json runs = json::array();
  for (const RunSubmitted& run : input.runs) runs.push_back(content(run));
  return {"batch", input.name, input.max_parallel, input.fail_fast, runs};
}
json content(const CancelRequested& input) {
  return {"cancel", input.run, input.reason, input.force};
}
json content(const PauseRequested& input) {
  return {"pause", input.run, input.paused};
}
json content(const RetryRequested& input) {
  return {"retry", input.run};
}
json content(const DeleteRequested& input) {
  return {"delete", input.run};
}
json content(const DrainRequested& input) {
  return {"drain", input.node, input.drain, input.deadline_ms};
}
json content(const ForgetRequested& input) {
  return {"forget", input.node};
}
json content(const QueueRequested& input) {
  return {"queue", input.queue, input.quota.cores, input.quota.gpus, input.quota.memory_bytes};
}

std::string no_node(const std::string& name) {
  return "there is no node '" + name + "': see gridquant nodes list";
}

std::string over(const Run& run) {
  return "run " + run.id + " is over (" + name_of(run.state) + ")";
}

template <class Value>
constexpr bool kIsRequest = requires(const Value& value) {
  value.request;
};

}  // namespace

std::string request_of(const Input& input) {
  return std::visit(
      [](const auto& value) -> std::string {
        if constexpr (kIsRequest<std::decay_t<decltype(value)>>) return value.request;
        return "";
      },
      input);
}

std::string content_digest(const Input& input) {
  const std::string text = std::visit(
      [](const auto& value) -> std::string {
        if constexpr (kIsRequest<std::decay_t<decltype(value)>>) {
          return content(value).dump(-1, ' ', false, json::error_handler_t::replace);
        }
        return "";
      },
      input);
  uint64_t hash = 14695981039346656037ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return std::to_string(hash);
}

bool Step::answered(const std::string& request, const std::string& digest) {
  const auto found = scheduler_.state_.requests.find(request);
  if (found == scheduler_.state_.requests.end()) return false;
  if (found->second.digest == digest) {
    result_.actions.push_back(Answer{request, found->second.result, "", absl::StatusCode::kOk});
  } else {
    refuse("the request id " + request + " was used for another request", absl::StatusCode::kAlreadyExists);
    result_.actions.push_back(Answer{request, "", result_.refused, result_.refused_code});
  }
  return true;
}

void Step::answer(const std::string& request, const std::string& digest) {
  if (result_.refused.empty()) {
    emit(RecordType::kRequestDone, "", "", {{"id", request}, {"digest", digest}, {"result", result_id_}});
  }
  result_.actions.push_back(
      Answer{request, result_.refused.empty() ? result_id_ : "", result_.refused, result_.refused_code});
}

std::string Step::submit(const RunSubmitted& input, const std::string& batch, bool queued) {
  std::string id = input.run;
  for (uint64_t number = scheduler_.state_.last_run + 1; id.empty() || (input.run.empty() && find_run(id)); ++number) {
    id = input.pipeline.name + "-" + std::to_string(number);
  }
  json body = {{"pipeline", to_json(input.pipeline)},
               {"keys", input.keys},
               {"cacheNotes", input.cache_notes},
               {"useCache", input.use_cache},
               {"options", input.options}};
  if (!batch.empty()) body["batch"] = batch;
  if (queued) body["queued"] = true;
  return emit(RecordType::kRunSubmitted, id, "", std::move(body)) ? id : "";
}

void Step::handle(const RunSubmitted& input) {
  result_id_ = submit(input, "", false);
}

void Step::handle(const BatchSubmitted& input) {
  const std::string id =
      input.batch.empty() ? input.name + "-" + std::to_string(scheduler_.state_.last_run + 1) : input.batch;
  if (input.runs.empty()) return refuse("a batch without runs", absl::StatusCode::kInvalidArgument);
  for (const RunSubmitted& run : input.runs) {
    if (!run.run.empty() && find_run(run.run) != nullptr)
      return refuse("the run " + run.run + " exists", absl::StatusCode::kAlreadyExists);
  }
  if (!emit(RecordType::kBatchSubmitted, "", "",
            {{"batch", id}, {"name", input.name}, {"maxParallel", input.max_parallel}, {"failFast", input.fail_fast}}))
    return;
  for (const RunSubmitted& run : input.runs) submit(run, id, true);
  result_id_ = id;
}

void Step::cancel(Run& run, const std::string& reason, bool force) {
  if (run.state != RunState::kCancelling) emit(RecordType::kRunCancelling, run.id, "", {{"reason", reason}});
  cancel_stages(run, force);
}

void Step::handle(const CancelRequested& input) {
  Run* run = find_run(input.run);
  if (run == nullptr) return refuse(no_run(scheduler_.state_, input.run), absl::StatusCode::kNotFound);
  if (is_over(run->state)) return refuse(over(*run));
  if (run->state == RunState::kCancelling && !input.force)
    return refuse("run " + input.run + " is being cancelled; to kill its workers at once: --force");
  cancel(*run, input.reason, input.force);
}

void Step::handle(const PauseRequested& input) {
  const Run* run = find_run(input.run);
  if (run == nullptr) return refuse(no_run(scheduler_.state_, input.run), absl::StatusCode::kNotFound);
  if (is_over(run->state)) return refuse(over(*run));
  if (run->paused == input.paused)
    return refuse("run " + input.run + (input.paused ? " is paused already" : " is not paused"));
  emit(input.paused ? RecordType::kRunPaused : RecordType::kRunResumed, input.run, "", json::object());
}

void Step::handle(const RetryRequested& input) {
  const Run* run = find_run(input.run);
  if (run == nullptr) return refuse(no_run(scheduler_.state_, input.run), absl::StatusCode::kNotFound);
  if (!is_over(run->state))
    return refuse("run " + input.run + " is not over (" + name_of(run->state) + "): wait for its end, or cancel it");
  if (run->state == RunState::kSucceeded)
    return refuse("run " + input.run + " has succeeded: there is nothing to repeat");
  spec::Pipeline pipeline = run->pipeline;
  json keys = json::object(), notes = json::object();
  for (const Stage& stage : run->stages) {
    pipeline.stages.push_back(stage.plan);
    keys[stage.plan.name] = stage.key;
    notes[stage.plan.name] = stage.cache_note;
  }
  const std::string id =
      input.as.empty() ? pipeline.name + "-" + std::to_string(scheduler_.state_.last_run + 1) : input.as;
  const bool made = emit(RecordType::kRunSubmitted, id, "",
                         {{"pipeline", to_json(pipeline)},
                          {"keys", keys},
                          {"cacheNotes", notes},
                          {"useCache", true},
                          {"options", run->options},
                          {"retryOf", input.run}});
  if (made) result_id_ = id;
}

void Step::handle(const DeleteRequested& input) {
  const Run* run = find_run(input.run);
  if (run == nullptr) return refuse(no_run(scheduler_.state_, input.run), absl::StatusCode::kNotFound);
  if (const std::string why = why_not_deleted(*run); !why.empty()) return refuse(why);
  erase(*run);
}

std::string Step::why_not_deleted(const Run& run) {
  if (!is_over(run.state)) return "run " + run.id + " is not over: cancel it first";
  for (const Stage& stage : run.stages) {
    if (stage.links.leases.empty()) continue;
    return "something of run " + run.id + " still runs, or may run on a lost node (gridquant nodes list)";
  }
  return "";
}

void Step::erase(const Run& run) {
  json body = {{"lastEpoch", scheduler_.state_.last_epoch}};
  if (!run.batch.empty()) body["batch"] = run.batch;
  emit(RecordType::kRunDeleted, std::string(run.id), "", std::move(body));
}

void Step::handle(const RunDelivered& input) {
  const Run* run = find_run(input.run);
  if (run == nullptr) return refuse(no_run(scheduler_.state_, input.run), absl::StatusCode::kNotFound);
  if (run->delivery != Delivery::kPending) return refuse("run " + input.run + " waits for no delivery");
  emit(RecordType::kRunDelivered, input.run, "", {{"error", input.error}});
}

void Step::handle(const DrainRequested& input) {
  const auto node = scheduler_.state_.nodes.find(input.node);
  if (node == scheduler_.state_.nodes.end()) return refuse(no_node(input.node), absl::StatusCode::kNotFound);
  if (!input.drain) {
    if (!node->second.draining) return refuse("node " + input.node + " is not being drained");
    emit(RecordType::kNodeUndrained, "", "", {{"node", input.node}});
    return;
  }
  const Tick deadline = input.deadline_ms > 0 ? now_ms_ + input.deadline_ms : 0;
  emit(RecordType::kNodeDraining, "", "", {{"node", input.node}, {"deadlineMs", deadline}});
}

// Whoever asks says that the machine will not come back: nothing of what it held can be running. If it does come back,
// it joins as a new node, and ends what the desired state does not list.
void Step::handle(const ForgetRequested& input) {
  const auto node = scheduler_.state_.nodes.find(input.node);
  if (node == scheduler_.state_.nodes.end()) return refuse(no_node(input.node), absl::StatusCode::kNotFound);
  if (node->second.alive)
    return refuse("node " + input.node + " is alive: stop its agent, or wait until it counts as lost");
  const std::set<uint64_t> leases = node->second.used.leases;
  for (const uint64_t epoch : leases) member_gone(epoch, input.node);
  emit(RecordType::kNodeForgotten, "", "", {{"node", input.node}});
  scheduler_.heard_.erase(input.node);
}

void Step::handle(const QueueRequested& input) {
  emit(RecordType::kQueueChanged, "", "",
       {{"queue", input.queue},
        {"cores", input.quota.cores},
        {"gpus", input.quota.gpus},
        {"memoryBytes", input.quota.memory_bytes}});
}

}  // namespace gridquant::sched
