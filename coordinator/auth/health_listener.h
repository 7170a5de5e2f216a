// gRPC health (grpc.health.v1) on an address of its own, without TLS, and nothing else: for whoever asks whether a
// server lives and cannot prove who it is, such as Kubernetes' probes. The name "" stands for the whole server.
#pragma once

#include <memory>
#include <string>

#include "engine/base/status.h"

namespace gridquant::auth {

class HealthListener {
 public:
  virtual ~HealthListener() = default;  // stops listening
  virtual void set_serving(bool serving) = 0;
  virtual int port() const = 0;

  // Begins as not serving. Unavailable: the address cannot be listened on.
  static StatusOr<std::unique_ptr<HealthListener>> start(const std::string& address);
};

}  // namespace gridquant::auth
