// See health_listener.h.
#include "coordinator/auth/health_listener.h"

#include <chrono>
#include <utility>

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

namespace gridquant::auth {
namespace {

constexpr std::chrono::milliseconds kShutdownGrace{200};

class Listener final : public HealthListener {
 public:
  ~Listener() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
  }

  Status listen(const std::string& address) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterCallbackGenericService(&nothing_else_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError("--health-listen " + address + ": cannot be listened on: is it in use?");
    }
    set_serving(false);
    return absl::OkStatus();
  }

  void set_serving(bool serving) override { server_->GetHealthCheckService()->SetServingStatus(serving); }
  int port() const override { return port_; }

 private:
  grpc::CallbackGenericService nothing_else_;  // a server needs one beside its health; every call is UNIMPLEMENTED
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

StatusOr<std::unique_ptr<HealthListener>> HealthListener::start(const std::string& address) {
  auto listener = std::make_unique<Listener>();
  GQ_RETURN_IF_ERROR(listener->listen(address));
  return listener;
}

}  // namespace gridquant::auth
