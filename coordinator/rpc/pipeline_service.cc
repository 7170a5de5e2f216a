// Calls that change a run, a queue or a batch's runs.
#include "coordinator/rpc/pipeline_service.h"

#include <limits>

#include "coordinator/rpc/convert.h"

namespace gridquant::rpc {
namespace {

const auto kNothing = [](const std::string&) {};  // responses without fields

}  // namespace

grpc::ServerUnaryReactor* PipelineService::CancelRun(Context* context, const v1::CancelRunRequest* request,
                                                     v1::CancelRunResponse*) {
  const std::string reason = request->reason().empty() ? "cancelled" : request->reason();
  return calls_.change(context, sched::CancelRequested{request->run(), reason, request->force(), request->request_id()},
                       kNothing);
}

grpc::ServerUnaryReactor* PipelineService::RetryRun(Context* context, const v1::RetryRunRequest* request,
                                                    v1::RetryRunResponse* response) {
  return calls_.change(context, sched::RetryRequested{request->run(), "", request->request_id()},
                       [response](const std::string& run) { response->set_run(run); });
}

grpc::ServerUnaryReactor* PipelineService::PauseRun(Context* context, const v1::PauseRunRequest* request,
                                                    v1::PauseRunResponse*) {
  return calls_.change(context, sched::PauseRequested{request->run(), true, request->request_id()}, kNothing);
}

grpc::ServerUnaryReactor* PipelineService::ResumeRun(Context* context, const v1::ResumeRunRequest* request,
                                                     v1::ResumeRunResponse*) {
  return calls_.change(context, sched::PauseRequested{request->run(), false, request->request_id()}, kNothing);
}

grpc::ServerUnaryReactor* PipelineService::DeleteRun(Context* context, const v1::DeleteRunRequest* request,
                                                     v1::DeleteRunResponse*) {
  control::Control* const control = &calls_.control();
  return calls_.change(context, sched::DeleteRequested{request->run(), request->request_id()},
                       [control, run = request->run()](const std::string&) {
                         control->executor().run([control, run] { control->logs().remove_run(run).IgnoreError(); });
                       });
}

grpc::ServerUnaryReactor* PipelineService::SetQueue(Context* context, const v1::SetQueueRequest* request,
                                                    v1::SetQueueResponse*) {
  const v1::Queue& queue = request->queue();
  if (queue.name().empty() || queue.cores() < 0 || queue.gpus() < 0 || queue.memory_bytes() < 0) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(to_grpc(absl::InvalidArgumentError("a queue needs a name, and quotas that are not negative")));
    return reactor;
  }
  sched::QueueRequested input{.queue = queue.name(), .request = request->request_id()};
  input.quota = {queue.cores(), queue.gpus(), queue.memory_bytes()};
  return calls_.change(context, std::move(input), kNothing);
}

}  // namespace gridquant::rpc
