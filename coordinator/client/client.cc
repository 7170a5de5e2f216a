// Unary calls and their retries. Streams: see stream.h.
#include "coordinator/client/client.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include <grpcpp/client_context.h>

#include "coordinator/auth/credentials.h"
#include "coordinator/client/channel.h"
#include "coordinator/client/errors.h"
#include "coordinator/client/stream.h"
#include "gridquant/v1/node.grpc.pb.h"
#include "gridquant/v1/pipeline.grpc.pb.h"

namespace gridquant::client {
namespace {

using Pipelines = v1::PipelineService::Stub;
using Nodes = v1::NodeService::Stub;
using SteadyClock = std::chrono::steady_clock;

constexpr int64_t kFirstBackoffMs = 50, kMaxBackoffMs = 1'000;
constexpr int64_t kSubmitFactor = 10;

// A stream that never began.
template <class Message>
std::unique_ptr<Stream<Message>> ended(const Status& status) {
  class Ended final : public Stream<Message> {
   public:
    explicit Ended(Status status) : status_(std::move(status)) {}
    StreamStep<Message> next(int64_t) override {
      return {.kind = StreamStep<Message>::Kind::kEnded, .message = {}, .status = status_};
    }

   private:
    const Status status_;
  };
  return std::make_unique<Ended>(status);
}

int64_t ms_since(SteadyClock::time_point then) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - then).count();
}

}  // namespace

std::string make_request_id() {
  unsigned char bytes[16] = {};
  while (::getrandom(bytes, sizeof(bytes), 0) != static_cast<ssize_t>(sizeof(bytes))) {
  }
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string id;
  for (const unsigned char byte : bytes) {
    id += kDigits[byte >> 4];
    id += kDigits[byte & 15];
  }
  return id;
}

struct Client::Impl {
  explicit Impl(ClientOptions the_options)
      : options(std::move(the_options)),
        credentials(auth::channel_credentials(options.security, options.address)),
        channel(make_channel(options.address, credentials.ok() ? *credentials : nullptr)),
        pipelines(channel),
        nodes(channel) {}

  template <class Stub, class Request, class Response>
  StatusOr<Response> call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                          const Request& request, int64_t timeout_ms) {
    if (!credentials.ok()) return credentials.status();
    int late_tries = 0;
    auto last_contact = SteadyClock::now();  // or the beginning
    for (int64_t backoff_ms = kFirstBackoffMs;; backoff_ms = std::min(2 * backoff_ms, kMaxBackoffMs)) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
      Response response;
      const Status status = from_grpc((stub.*method)(&context, request, &response), options.address);
      if (status.ok()) return response;
      if (!is_retryable(status)) return status;
      if (status.code() == absl::StatusCode::kDeadlineExceeded) {
        if (++late_tries >= options.max_late_tries) return status;
        last_contact = SteadyClock::now();
      } else if (ms_since(last_contact) + backoff_ms > options.unreachable_ms) {
        return status;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(backoff_ms));
    }
  }

  template <class Request, class Response>
  StatusOr<Response> read(grpc::Status (Pipelines::*method)(grpc::ClientContext*, const Request&, Response*),
                          const Request& request) {
    return call(pipelines, method, request, options.try_timeout_ms);
  }

  template <class Stub, class Request, class Response>
  StatusOr<Response> change(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                            Request& request, int64_t factor = 1) {
    if (request.request_id().empty()) request.set_request_id(make_request_id());
    return call(stub, method, request, factor * options.try_timeout_ms);
  }

  ClientOptions options;
  StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials;
  std::shared_ptr<grpc::Channel> channel;  // without credentials no call on it works
  Pipelines pipelines;
  Nodes nodes;
};

Client::Client(ClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Client::~Client() = default;

const std::string& Client::address() const {
  return impl_->options.address;
}

StatusOr<v1::SubmitResponse> Client::call(v1::SubmitRequest request) {
  return impl_->change(impl_->pipelines, &Pipelines::Submit, request, kSubmitFactor);
}
StatusOr<v1::ValidateResponse> Client::call(const v1::ValidateRequest& request) {
  return impl_->read(&Pipelines::Validate, request);
}
StatusOr<v1::GetRunResponse> Client::call(const v1::GetRunRequest& request) {
  return impl_->read(&Pipelines::GetRun, request);
}
StatusOr<v1::ListRunsResponse> Client::call(const v1::ListRunsRequest& request) {
  return impl_->read(&Pipelines::ListRuns, request);
}
StatusOr<v1::CancelRunResponse> Client::call(v1::CancelRunRequest request) {
  return impl_->change(impl_->pipelines, &Pipelines::CancelRun, request);
}
StatusOr<v1::RetryRunResponse> Client::call(v1::RetryRunRequest request) {
  return impl_->change(impl_->pipelines, &Pipelines::RetryRun, request, kSubmitFactor);
}
StatusOr<v1::PauseRunResponse> Client::call(v1::PauseRunRequest request) {
  return impl_->change(impl_->pipelines, &Pipelines::PauseRun, request);
}
StatusOr<v1::ResumeRunResponse> Client::call(v1::ResumeRunRequest request) {
  return impl_->change(impl_->pipelines, &Pipelines::ResumeRun, request);
}
StatusOr<v1::ExplainRunResponse> Client::call(const v1::ExplainRunRequest& request) {
  return impl_->read(&Pipelines::ExplainRun, request);
}
StatusOr<v1::DeleteRunResponse> Client::call(v1::DeleteRunRequest request) {
  return impl_->change(impl_->pipelines, &Pipelines::DeleteRun, request);
}
StatusOr<v1::CollectGarbageResponse> Client::call(v1::CollectGarbageRequest request) {
  // It may remove many files.
  return impl_->change(impl_->pipelines, &Pipelines::CollectGarbage, request, kSubmitFactor);
}
StatusOr<v1::GetBatchResponse> Client::call(const v1::GetBatchRequest& request) {
  return impl_->read(&Pipelines::GetBatch, request);
}
StatusOr<v1::SetQueueResponse> Client::call(v1::SetQueueRequest request) {
  return impl_->change(impl_->pipelines, &Pipelines::SetQueue, request);
}
StatusOr<v1::ListQueuesResponse> Client::call(const v1::ListQueuesRequest& request) {
  return impl_->read(&Pipelines::ListQueues, request);
}
StatusOr<v1::ListNodesResponse> Client::call(const v1::ListNodesRequest& request) {
  return impl_->call(impl_->nodes, &Nodes::ListNodes, request, impl_->options.try_timeout_ms);
}
StatusOr<v1::DrainNodeResponse> Client::call(v1::DrainNodeRequest request) {
  return impl_->change(impl_->nodes, &Nodes::DrainNode, request);
}
StatusOr<v1::UndrainNodeResponse> Client::call(v1::UndrainNodeRequest request) {
  return impl_->change(impl_->nodes, &Nodes::UndrainNode, request);
}
StatusOr<v1::ForgetNodeResponse> Client::call(v1::ForgetNodeRequest request) {
  return impl_->change(impl_->nodes, &Nodes::ForgetNode, request);
}

std::unique_ptr<Stream<v1::WatchRunResponse>> Client::watch(const v1::WatchRunRequest& request) {
  if (!impl_->credentials.ok()) return ended<v1::WatchRunResponse>(impl_->credentials.status());
  Pipelines& stub = impl_->pipelines;
  return std::make_unique<ResumingStream<WatchCursor>>(
      impl_->options, WatchCursor(request),
      [&stub](grpc::ClientContext* context, const v1::WatchRunRequest& next, grpc::CompletionQueue* queue) {
        return stub.PrepareAsyncWatchRun(context, next, queue);
      });
}

std::unique_ptr<Stream<v1::ReadLogsResponse>> Client::logs(const v1::ReadLogsRequest& request) {
  if (!impl_->credentials.ok()) return ended<v1::ReadLogsResponse>(impl_->credentials.status());
  Pipelines& stub = impl_->pipelines;
  return std::make_unique<ResumingStream<LogCursor>>(
      impl_->options, LogCursor(request),
      [&stub](grpc::ClientContext* context, const v1::ReadLogsRequest& next, grpc::CompletionQueue* queue) {
        return stub.PrepareAsyncReadLogs(context, next, queue);
      });
}

}  // namespace gridquant::client
