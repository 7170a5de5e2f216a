// The network of one agent: its server for the other nodes, its session with the coordinator.
#pragma once

#include <memory>
#include <string>

#include "coordinator/auth/security.h"
#include "engine/base/status.h"
#include "node/daemon/messages.h"
#include "node/rpc/convert.h"

namespace gridquant::node {

struct RuntimeOptions {
  std::string node{}, coordinator{}, listen{};
  std::string advertise{};  // HOST or HOST:PORT; "": as it listens
  NodeFacts facts{};        // agent_address is filled in
  auth::ServerSecurity server_security{};
  auth::ClientSecurity client_security{};
};

class AgentRuntime {
 public:
  virtual ~AgentRuntime() = default;
  virtual Uplink& uplink() = 0;
  virtual const std::string& address() const = 0;  // of the server, as it is told to the others

  static StatusOr<std::unique_ptr<AgentRuntime>> start(const RuntimeOptions& options, Inbox& inbox);
};

}  // namespace gridquant::node
