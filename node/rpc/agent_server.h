// AgentService (proto/gridquant/v1/agent.proto): what the head of a gang may ask of this node. Only translates between
// a stream and the agent's inbox; the agent decides.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/security/server_credentials.h>

#include "engine/base/status.h"
#include "node/daemon/messages.h"

namespace gridquant::node {

class AgentServer {
 public:
  virtual ~AgentServer() = default;  // breaks all streams
  virtual int port() const = 0;

  // `listen`: HOST:PORT; port 0: any free one. `inbox` is borrowed. Unavailable if nothing can listen there.
  static StatusOr<std::unique_ptr<AgentServer>> start(const std::string& node, const std::string& listen,
                                                      const std::shared_ptr<grpc::ServerCredentials>& credentials,
                                                      Inbox& inbox);
};

}  // namespace gridquant::node
