// See server.h.
#include "coordinator/rpc/server.h"

#include <chrono>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "coordinator/auth/credentials.h"
#include "coordinator/rpc/limits.h"
#include "coordinator/rpc/node_service.h"
#include "coordinator/rpc/pipeline_service.h"

namespace gridquant::rpc {
namespace {

class GrpcServer final : public Server {
 public:
  explicit GrpcServer(control::Control& control) : calls_(control), pipelines_(calls_), nodes_(calls_) {}
  ~GrpcServer() override { stop(); }

  Status begin(const std::string& listen, const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(listen, credentials, &port);
    builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
    builder.SetMaxSendMessageSize(kMaxSendBytes);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // two coordinators on one port would share its callers
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
    builder.RegisterService(&pipelines_);
    builder.RegisterService(&nodes_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError("cannot listen on " + listen + ": is the address of this machine, and free?");
    }
    address_ = listen.substr(0, listen.rfind(':')) + ":" + std::to_string(port);
    serving(true);
    return absl::OkStatus();
  }

  std::string address() const override { return address_; }

  void stop() override {
    if (server_ == nullptr) return;
    serving(false);
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(kStopMs));
    server_->Wait();
    server_.reset();
  }

 private:
  void serving(bool yes) {
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    if (health == nullptr) return;
    health->SetServingStatus(yes);
    health->SetServingStatus(v1::PipelineService::service_full_name(), yes);
    health->SetServingStatus(v1::NodeService::service_full_name(), yes);
  }

  const Calls calls_;
  PipelineService pipelines_;
  NodeService nodes_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::start(control::Control& control, const ServerOptions& options) {
  if (options.listen.rfind(':') == std::string::npos) {
    return absl::InvalidArgumentError("--listen " + options.listen + " is not HOST:PORT");
  }
  GQ_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                      auth::server_credentials(options.security, options.listen));
  auto server = std::make_unique<GrpcServer>(control);
  GQ_RETURN_IF_ERROR(server->begin(options.listen, credentials));
  return server;
}

}  // namespace gridquant::rpc
