// The coordinator's gRPC server: both services, health, reflection.
#pragma once

#include <memory>
#include <string>

#include "coordinator/auth/security.h"
#include "coordinator/control/control.h"
#include "engine/base/status.h"

namespace gridquant::rpc {

struct ServerOptions {
  std::string listen = "127.0.0.1:0";  // HOST:PORT; port 0: a free one
  auth::ServerSecurity security{};
};

class Server {
 public:
  // `control` must outlive it. FailedPrecondition: nothing protects an address that others reach; Unavailable: the
  // address cannot be had.
  static StatusOr<std::unique_ptr<Server>> start(control::Control& control, const ServerOptions& options);
  virtual ~Server() = default;
  virtual std::string address() const = 0;  // HOST:PORT that it listens on
  // Health says "not serving", open calls get kStopMs to end; returns when all have ended.
  virtual void stop() = 0;
};

}  // namespace gridquant::rpc
