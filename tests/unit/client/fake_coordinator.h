// A coordinator on a loopback port that does as the test says: what the client is tried against.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "gridquant/v1/pipeline.grpc.pb.h"

namespace gridquant::client {

class FakeCoordinator final : public v1::PipelineService::Service {
 public:
  enum class Fault { kNone, kRequestLost, kReplyLost, kSlow };

  explicit FakeCoordinator(int port = 0) { listen(port); }
  ~FakeCoordinator() override { stop(); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void stop() {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  void listen(int port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  void restart() {
    stop();
    listen(port_);
  }

  // What happens to the calls that change something, one after the other.
  std::vector<Fault> faults;
  std::vector<std::string> ids;        // of every CancelRun that arrived
  std::map<std::string, int> changes;  // id -> how often its change was made
  std::function<grpc::Status(const v1::SubmitRequest&, v1::SubmitResponse&)> on_submit;
  using EventWriter = grpc::ServerWriter<v1::WatchRunResponse>;
  std::function<grpc::Status(int call, const v1::WatchRunRequest&, EventWriter&, grpc::ServerContext&)> on_watch;
  using LogWriter = grpc::ServerWriter<v1::ReadLogsResponse>;
  std::function<grpc::Status(int call, const v1::ReadLogsRequest&, LogWriter&)> on_logs;

  grpc::Status CancelRun(grpc::ServerContext* context, const v1::CancelRunRequest* request,
                         v1::CancelRunResponse*) override {
    std::unique_lock lock(mutex_);
    ids.push_back(request->request_id());
    const size_t call = ids.size() - 1;
    const Fault fault = call < faults.size() ? faults[call] : Fault::kNone;
    if (fault == Fault::kRequestLost) return {grpc::StatusCode::UNAVAILABLE, "cut before it was read"};
    if (changes.try_emplace(request->request_id(), 0).second) ++changes[request->request_id()];
    lock.unlock();
    if (fault == Fault::kReplyLost) return {grpc::StatusCode::UNAVAILABLE, "cut after it was done"};
    while (fault == Fault::kSlow && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::OK;
  }
  grpc::Status Submit(grpc::ServerContext*, const v1::SubmitRequest* request, v1::SubmitResponse* answer) override {
    return on_submit(*request, *answer);
  }
  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest* request,
                        EventWriter* writer) override {
    return on_watch(watches_++, *request, *writer, *context);
  }
  grpc::Status ReadLogs(grpc::ServerContext*, const v1::ReadLogsRequest* request, LogWriter* writer) override {
    return on_logs(reads_++, *request, *writer);
  }

  static v1::WatchRunResponse event(uint64_t sequence) {
    v1::WatchRunResponse message;
    message.mutable_event()->set_sequence(sequence);
    return message;
  }

 private:
  std::mutex mutex_;
  int port_ = 0;
  int watches_ = 0, reads_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace gridquant::client
