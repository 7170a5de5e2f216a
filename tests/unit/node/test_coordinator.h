// A coordinator for tests of real agents: it tells nodes what to run, and remembers what they say. It decides nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "absl/synchronization/mutex.h"
#include "gridquant/v1/node.grpc.pb.h"

namespace gridquant::node {

class TestCoordinator final : public v1::NodeService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::SessionResponse, v1::SessionRequest>;

  explicit TestCoordinator(int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~TestCoordinator() override { server_->Shutdown(std::chrono::system_clock::now()); }
  int port() const { return port_; }

  // What the node should run from now on.
  void desire(const std::string& node, std::vector<v1::DesiredAttempt> attempts) {
    absl::MutexLock lock(&mutex_);
    desired_[node] = std::move(attempts);
    ++revision_;
    for (const auto& [name, stream] : streams_) send_locked(name, *stream);
  }
  std::optional<v1::NodeReport> report(const std::string& node) {
    absl::MutexLock lock(&mutex_);
    const auto found = reports_.find(node);
    return found == reports_.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<v1::AttemptReport> attempt(const std::string& node, uint64_t epoch) {
    const auto of = report(node);
    if (!of) return std::nullopt;
    for (const v1::AttemptReport& one : of->attempts()) {
      if (one.epoch() == epoch) return one;
    }
    return std::nullopt;
  }
  std::string log(uint64_t epoch) {
    absl::MutexLock lock(&mutex_);
    return logs_[epoch];
  }
  int progresses() {
    absl::MutexLock lock(&mutex_);
    return progresses_;
  }
  void refuse(const std::string& why) {
    absl::MutexLock lock(&mutex_);
    refusal_ = why;
  }

  grpc::Status Session(grpc::ServerContext*, Stream* stream) override {
    std::string node;
    v1::SessionRequest request;
    while (stream->Read(&request)) {
      absl::MutexLock lock(&mutex_);
      if (!refusal_.empty()) return {grpc::StatusCode::FAILED_PRECONDITION, refusal_};
      if (request.has_report()) {
        node = request.report().node();
        reports_[node] = request.report();
        streams_[node] = stream;
        ++revision_;
        send_locked(node, *stream);
      } else if (request.has_log()) {
        take_log(request.log(), *stream);
      } else {
        ++progresses_;
      }
    }
    absl::MutexLock lock(&mutex_);
    if (streams_[node] == stream) streams_.erase(node);
    return grpc::Status::OK;
  }

 private:
  void send_locked(const std::string& node, Stream& stream) {
    v1::SessionResponse response;
    v1::DesiredState& state = *response.mutable_desired();
    state.set_node(node);
    state.set_boot(reports_[node].boot());
    state.set_session(static_cast<uint64_t>(reports_[node].boot()));
    state.mutable_revision()->set_incarnation(1);
    state.mutable_revision()->set_number(revision_);
    for (const v1::DesiredAttempt& one : desired_[node]) *state.add_attempts() = one;
    stream.Write(response);
  }
  void take_log(const v1::LogChunk& chunk, Stream& stream) {
    std::string& log = logs_[chunk.epoch()];
    if (chunk.offset() == log.size()) log += chunk.data();
    v1::SessionResponse response;
    response.mutable_log_acknowledged()->set_epoch(chunk.epoch());
    response.mutable_log_acknowledged()->set_offset(log.size());
    stream.Write(response);
  }

  absl::Mutex mutex_;
  std::map<std::string, std::vector<v1::DesiredAttempt>> desired_;
  std::map<std::string, v1::NodeReport> reports_;
  std::map<std::string, Stream*> streams_;
  std::map<uint64_t, std::string> logs_;
  std::string refusal_;
  uint64_t revision_ = 1;
  int progresses_ = 0;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace gridquant::node
