// PipelineService: translates calls to inputs of the core and looks at its state. Decides nothing.
#pragma once

#include "coordinator/rpc/calls.h"
#include "gridquant/v1/pipeline.grpc.pb.h"

namespace gridquant::rpc {

class PipelineService final : public v1::PipelineService::CallbackService {
 public:
  explicit PipelineService(const Calls& calls) : calls_(calls) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Submit(Context* context, const v1::SubmitRequest* request, v1::SubmitResponse* response) override;
  Reactor* Validate(Context* context, const v1::ValidateRequest* request, v1::ValidateResponse* response) override;
  Reactor* GetRun(Context* context, const v1::GetRunRequest* request, v1::GetRunResponse* response) override;
  Reactor* ListRuns(Context* context, const v1::ListRunsRequest* request, v1::ListRunsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchRunResponse>* WatchRun(Context* context,
                                                           const v1::WatchRunRequest* request) override;
  grpc::ServerWriteReactor<v1::ReadLogsResponse>* ReadLogs(Context* context,
                                                           const v1::ReadLogsRequest* request) override;
  Reactor* CancelRun(Context* context, const v1::CancelRunRequest* request, v1::CancelRunResponse* response) override;
  Reactor* RetryRun(Context* context, const v1::RetryRunRequest* request, v1::RetryRunResponse* response) override;
  Reactor* PauseRun(Context* context, const v1::PauseRunRequest* request, v1::PauseRunResponse* response) override;
  Reactor* ResumeRun(Context* context, const v1::ResumeRunRequest* request, v1::ResumeRunResponse* response) override;
  Reactor* ExplainRun(Context* context, const v1::ExplainRunRequest* request,
                      v1::ExplainRunResponse* response) override;
  Reactor* DeleteRun(Context* context, const v1::DeleteRunRequest* request, v1::DeleteRunResponse* response) override;
  Reactor* CollectGarbage(Context* context, const v1::CollectGarbageRequest* request,
                          v1::CollectGarbageResponse* response) override;
  Reactor* GetBatch(Context* context, const v1::GetBatchRequest* request, v1::GetBatchResponse* response) override;
  Reactor* SetQueue(Context* context, const v1::SetQueueRequest* request, v1::SetQueueResponse* response) override;
  Reactor* ListQueues(Context* context, const v1::ListQueuesRequest* request,
                      v1::ListQueuesResponse* response) override;

 private:
  const Calls& calls_;
};

}  // namespace gridquant::rpc
