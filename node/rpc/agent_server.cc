// See agent_server.h.
#include "node/rpc/agent_server.h"

#include <chrono>
#include <deque>
#include <thread>
#include <utility>

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gridquant/v1/agent.grpc.pb.h"

namespace gridquant::node {
namespace {

using DaemonStream = grpc::ServerReaderWriter<v1::RunDaemonResponse, v1::RunDaemonRequest>;

constexpr size_t kMaxWaiting = 1'000;  // lines of a daemon that its caller does not take
constexpr int kMaxMessageBytes = 1 << 20;
constexpr auto kLookAgain = absl::Milliseconds(200);  // whether the caller is still there

grpc::Status to_grpc(const Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// From the agent's thread to the call's.
class Call final : public DaemonCall {
 public:
  void refused(const Status& status) override { finish(to_grpc(status)); }
  void started(int64_t pid) override {
    v1::RunDaemonResponse response;
    response.set_pid(pid);
    push(std::move(response));
  }
  void output(std::string bytes) override {
    v1::RunDaemonResponse response;
    response.set_output(std::move(bytes));
    push(std::move(response));
  }
  void ended(int exit_code) override {
    v1::RunDaemonResponse response;
    response.set_exit_code(exit_code);
    push(std::move(response));
    finish(grpc::Status::OK);
  }

  // Writes what comes until the end, or until the caller is gone: then CANCELLED.
  grpc::Status relay(grpc::ServerContext& context, DaemonStream& stream) {
    while (true) {
      v1::RunDaemonResponse response;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.AwaitWithTimeout(absl::Condition(this, &Call::has_news), kLookAgain);
        if (context.IsCancelled()) return grpc::Status::CANCELLED;
        if (waiting_.empty() && done_) return result_;
        if (waiting_.empty()) continue;
        response = std::move(waiting_.front());
        waiting_.pop_front();
      }
      if (!stream.Write(response)) return grpc::Status::CANCELLED;
    }
  }

 private:
  bool has_news() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return done_ || !waiting_.empty(); }
  void push(v1::RunDaemonResponse response) {
    absl::MutexLock lock(&mutex_);
    if (waiting_.size() < kMaxWaiting || response.has_exit_code()) waiting_.push_back(std::move(response));
  }
  void finish(grpc::Status status) {
    absl::MutexLock lock(&mutex_);
    done_ = true;
    result_ = std::move(status);
  }

  absl::Mutex mutex_;
  std::deque<v1::RunDaemonResponse> waiting_ ABSL_GUARDED_BY(mutex_);
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status result_ ABSL_GUARDED_BY(mutex_);
};

class Service final : public v1::AgentService::Service {
 public:
  Service(std::string node, Inbox& inbox) : node_(std::move(node)), inbox_(inbox) {}

  grpc::Status RunDaemon(grpc::ServerContext* context, DaemonStream* stream) override {
    v1::RunDaemonRequest first;
    if (!stream->Read(&first) || !first.has_start()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "the first message must say what to start"};
    }
    const v1::RunDaemonStart& start = first.start();
    if (start.node() != node_) {
      return {grpc::StatusCode::PERMISSION_DENIED, "this is node " + node_ + ", not " + start.node()};
    }
    const auto call = std::make_shared<Call>();
    DaemonRequested request{.epoch = start.epoch(), .secret = start.lease_secret()};
    request.arguments.assign(start.arguments().begin(), start.arguments().end());
    request.variables.insert(start.environment().begin(), start.environment().end());
    request.call = call;
    if (!inbox_.push(std::move(request))) return {grpc::StatusCode::UNAVAILABLE, "this agent has too much to do"};
    // The daemon reads no input (mpirun gives its launcher none): only the stream's end matters.
    const grpc::Status status = call->relay(*context, *stream);
    if (status.error_code() == grpc::StatusCode::CANCELLED) {
      while (!inbox_.push(DaemonAbandoned{call})) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return status;
  }

 private:
  const std::string node_;
  Inbox& inbox_;
};

class Server final : public AgentServer {
 public:
  Server(const std::string& node, Inbox& inbox) : service_(node, inbox) {}
  ~Server() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }
  int port() const override { return port_; }

  Status listen(const std::string& address, const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, credentials, &port_);
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // A head that is cut off is noticed, and its daemon ended.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 2'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3'000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1'000);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", address, " (--listen HOST:PORT)"));
    }
    return absl::OkStatus();
  }

 private:
  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

StatusOr<std::unique_ptr<AgentServer>> AgentServer::start(const std::string& node, const std::string& listen,
                                                          const std::shared_ptr<grpc::ServerCredentials>& credentials,
                                                          Inbox& inbox) {
  auto server = std::make_unique<Server>(node, inbox);
  GQ_RETURN_IF_ERROR(server->listen(listen, credentials));
  return server;
}

}  // namespace gridquant::node
