// How the coordinator's server is reached, and who may do what: the seam for TLS and tokens.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_context.h>

#include "engine/base/status.h"

namespace gridquant::rpc {

enum class Role {
  kViewer,    // looks
  kOperator,  // changes
  kNode,      // a node's agent
};

// Whether the caller may do what needs this role. Unauthenticated or PermissionDenied, with a clear message, if not.
using AuthoriseFn = std::function<Status(const grpc::ServerContextBase& context, Role role)>;

struct SecurityOptions {
  bool insecure_listen = false;  // without TLS, on an address that others reach
};

struct ServerSecurity {
  std::shared_ptr<grpc::ServerCredentials> credentials;
  AuthoriseFn authorise;
};

// `listen` is HOST:PORT. FailedPrecondition: it is not a loopback address, and nothing protects it.
StatusOr<ServerSecurity> make_server_security(const std::string& listen, const SecurityOptions& options);

bool is_loopback(const std::string& listen);

}  // namespace gridquant::rpc
