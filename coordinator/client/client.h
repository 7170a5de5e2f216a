// The client's side of the control plane: calls that are tried again until they are answered or a bound is reached, and
// streams that go on where they were cut. What the verbs of the command line use; no gRPC type shows.
//
// A call that changes something gets a request id if it has none, once for all its tries: the coordinator does it once,
// whether a request got lost, a reply got lost, or both arrived twice.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "coordinator/auth/security.h"
#include "engine/base/status.h"
#include "gridquant/v1/node.pb.h"
#include "gridquant/v1/pipeline.pb.h"

namespace gridquant::client {

struct ClientOptions {
  std::string address;              // HOST:PORT
  auth::ClientSecurity security{};  // every call says what of it cannot work
  // Of one try. Submit reads the model's files for their keys: it gets ten times as long.
  int64_t try_timeout_ms = 10'000;
  int64_t unreachable_ms = 5'000;  // nobody answers for so long: the call gives up
  int max_late_tries = 3;          // tries that may end without an answer in time
  int64_t reconnect_ms = 60'000;   // a stream that was cut gives up after so long without contact
};

// What a stream has to say next.
template <class Message>
struct StreamStep {
  enum class Kind {
    kNothing,  // not within the time given
    kMessage,
    kCut,          // the connection was lost; it is being tried again
    kReconnected,  // there is contact again
    kEnded,        // for good, with `status`
  };
  Kind kind = Kind::kNothing;
  std::optional<Message> message{};
  Status status{};
};

// Used by one thread. Destroying it ends the call.
template <class Message>
class Stream {
 public:
  virtual ~Stream() = default;
  virtual StreamStep<Message> next(int64_t wait_ms) = 0;
};

// Every call may be made from any thread. Errors: see errors.h; Unavailable and DeadlineExceeded only after the bounds
// of ClientOptions.
class Client {
 public:
  explicit Client(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  StatusOr<v1::SubmitResponse> call(v1::SubmitRequest request);
  StatusOr<v1::ValidateResponse> call(const v1::ValidateRequest& request);
  StatusOr<v1::GetRunResponse> call(const v1::GetRunRequest& request);
  StatusOr<v1::ListRunsResponse> call(const v1::ListRunsRequest& request);
  StatusOr<v1::CancelRunResponse> call(v1::CancelRunRequest request);
  StatusOr<v1::RetryRunResponse> call(v1::RetryRunRequest request);
  StatusOr<v1::PauseRunResponse> call(v1::PauseRunRequest request);
  StatusOr<v1::ResumeRunResponse> call(v1::ResumeRunRequest request);
  StatusOr<v1::ExplainRunResponse> call(const v1::ExplainRunRequest& request);
  StatusOr<v1::DeleteRunResponse> call(v1::DeleteRunRequest request);
  StatusOr<v1::CollectGarbageResponse> call(v1::CollectGarbageRequest request);
  StatusOr<v1::GetBatchResponse> call(const v1::GetBatchRequest& request);
  StatusOr<v1::SetQueueResponse> call(v1::SetQueueRequest request);
  StatusOr<v1::ListQueuesResponse> call(const v1::ListQueuesRequest& request);
  StatusOr<v1::ListNodesResponse> call(const v1::ListNodesRequest& request);
  StatusOr<v1::DrainNodeResponse> call(v1::DrainNodeRequest request);
  StatusOr<v1::UndrainNodeResponse> call(v1::UndrainNodeRequest request);
  StatusOr<v1::ForgetNodeResponse> call(v1::ForgetNodeRequest request);

  // Every event once, in order, without gaps, over any number of connections. The stream must not outlive the client.
  std::unique_ptr<Stream<v1::WatchRunResponse>> watch(const v1::WatchRunRequest& request);
  // Every byte of every log once, over any number of connections.
  std::unique_ptr<Stream<v1::ReadLogsResponse>> logs(const v1::ReadLogsRequest& request);

  const std::string& address() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string make_request_id();  // 128 random bits, in hexadecimal digits

}  // namespace gridquant::client
