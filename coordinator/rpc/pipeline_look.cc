// Calls that look at runs, batches and queues.
#include <algorithm>
#include <limits>

#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/limits.h"
#include "coordinator/rpc/pipeline_service.h"

namespace gridquant::rpc {
namespace {

using control::View;

Status no_run(const View& view, const std::string& run) {
  return absl::NotFoundError(sched::no_run(view.scheduler.state(), run));
}

bool matches(const sched::Run& run, const v1::ListRunsRequest& request) {
  const auto& states = request.states();
  return (states.empty() || std::find(states.begin(), states.end(), to_proto(run.state)) != states.end()) &&
         (request.pipeline().empty() || request.pipeline() == run.pipeline.name) &&
         (request.batch().empty() || request.batch() == run.batch);
}

// The token is the number of the last run that was given.
StatusOr<uint64_t> below(const std::string& token) {
  if (token.empty()) return std::numeric_limits<uint64_t>::max();
  const bool digits = token.size() < 19 && token.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) return absl::InvalidArgumentError("page_token is none that ListRuns gave");
  return std::stoull(token);
}

Status list_runs(const View& view, const v1::ListRunsRequest& request, v1::ListRunsResponse& response) {
  GQ_ASSIGN_OR_RETURN(const uint64_t before, below(request.page_token()));
  if (request.page_size() < 0) return absl::InvalidArgumentError("page_size is negative");
  const size_t most = std::min(request.page_size() == 0 ? kDefaultPage : request.page_size(), kMaxPage);
  std::vector<const sched::Run*> runs;
  for (const auto& [id, run] : view.scheduler.state().runs) {
    if (run.number < before && matches(run, request)) runs.push_back(&run);
  }
  std::sort(runs.begin(), runs.end(), [](const auto* a, const auto* b) { return a->number > b->number; });
  if (runs.size() > most) {
    runs.resize(most);
    response.set_next_page_token(std::to_string(runs.back()->number));
  }
  for (const sched::Run* run : runs) to_proto(*run, *response.add_runs());
  return absl::OkStatus();
}

// `log_trouble`: why logs cannot be written just now.
Status explain_run(const View& view, const v1::ExplainRunRequest& request, const Status& log_trouble,
                   v1::ExplainRunResponse& response) {
  const sched::Run* run = view.scheduler.find_run(request.run());
  if (run == nullptr) return no_run(view, request.run());
  if (!request.stage().empty() && run->index.count(request.stage()) == 0) {
    return absl::NotFoundError("run " + request.run() + " has no stage '" + request.stage() + "'");
  }
  for (const sched::Stage& stage : run->stages) {
    if (!request.stage().empty() && request.stage() != stage.plan.name) continue;
    GQ_ASSIGN_OR_RETURN(const std::string sentence,
                        sched::explain(view.scheduler, run->id, stage.plan.name, view.now_ms));
    v1::StageExplanation& one = *response.add_stages();
    one.set_stage(stage.plan.name);
    one.set_state(to_proto(stage.state));
    one.set_sentence(sentence);
    if (log_trouble.ok() || stage.state != sched::StageState::kRunning) continue;
    one.set_sentence(sentence + "; its log cannot be written just now, its node keeps it: " +
                     std::string(log_trouble.message()));
  }
  return absl::OkStatus();
}

Status get_batch(const View& view, const std::string& id, v1::GetBatchResponse& response) {
  const auto batch = view.scheduler.state().batches.find(id);
  if (batch == view.scheduler.state().batches.end()) return absl::NotFoundError("there is no batch '" + id + "'");
  response.set_id(id);
  response.set_name(batch->second.name);
  response.set_max_parallel(batch->second.max_parallel);
  response.set_fail_fast(batch->second.fail_fast);
  for (const std::string& name : batch->second.runs) {
    const sched::Run* run = view.scheduler.find_run(name);
    if (run != nullptr) to_proto(*run, *response.add_runs());
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* PipelineService::GetRun(Context* context, const v1::GetRunRequest* request,
                                                  v1::GetRunResponse* response) {
  return calls_.look(context, [this, request, response](const View& view) -> Status {
    const sched::Run* run = view.scheduler.find_run(request->run());
    if (run == nullptr) return no_run(view, request->run());
    to_proto(*run, *response->mutable_run());
    stages_to_proto(*run, calls_.control().options().store, *response->mutable_run());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* PipelineService::ListRuns(Context* context, const v1::ListRunsRequest* request,
                                                    v1::ListRunsResponse* response) {
  return calls_.look(context, [request, response](const View& view) { return list_runs(view, *request, *response); });
}

grpc::ServerUnaryReactor* PipelineService::ExplainRun(Context* context, const v1::ExplainRunRequest* request,
                                                      v1::ExplainRunResponse* response) {
  control::LogStore& logs = calls_.control().logs();
  return calls_.look(context, [request, response, &logs](const View& view) {
    return explain_run(view, *request, logs.trouble(), *response);
  });
}

grpc::ServerUnaryReactor* PipelineService::GetBatch(Context* context, const v1::GetBatchRequest* request,
                                                    v1::GetBatchResponse* response) {
  return calls_.look(context,
                     [request, response](const View& view) { return get_batch(view, request->batch(), *response); });
}

grpc::ServerUnaryReactor* PipelineService::ListQueues(Context* context, const v1::ListQueuesRequest*,
                                                      v1::ListQueuesResponse* response) {
  return calls_.look(context, [response](const View& view) {
    for (const auto& [name, quota] : view.scheduler.state().queues) {
      v1::Queue& queue = *response->add_queues();
      queue.set_name(name);
      queue.set_cores(quota.cores);
      queue.set_gpus(quota.gpus);
      queue.set_memory_bytes(quota.memory_bytes);
    }
    return absl::OkStatus();
  });
}

}  // namespace gridquant::rpc
