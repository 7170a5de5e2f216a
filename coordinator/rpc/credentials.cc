// See credentials.h.
#include "coordinator/rpc/credentials.h"

namespace gridquant::rpc {

bool is_loopback(const std::string& listen) {
  const std::string host = listen.substr(0, listen.rfind(':'));
  return host == "localhost" || host == "[::1]" || host.starts_with("127.") || listen.starts_with("unix:");
}

StatusOr<ServerSecurity> make_server_security(const std::string& listen, const SecurityOptions& options) {
  if (!is_loopback(listen) && !options.insecure_listen) {
    return absl::FailedPreconditionError("--listen " + listen + " can be reached from other machines, and nothing " +
                                         "protects it: listen on 127.0.0.1, or say --insecure-listen");
  }
  return ServerSecurity{grpc::InsecureServerCredentials(),
                        [](const grpc::ServerContextBase&, Role) { return absl::OkStatus(); }};
}

}  // namespace gridquant::rpc
