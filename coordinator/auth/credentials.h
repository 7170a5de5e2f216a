// gRPC credentials of both sides, from files: TLS with certificates that are read again when they change, tokens, or
// neither, on loopback. The only file that uses gRPC's experimental TLS interface.
//
//   server                        what it takes
//   loopback, no options          everybody on this machine
//   loopback, token file          tokens, without TLS
//   TLS files                     client certificates of its authority; tokens, if it has a token file
//   elsewhere, `insecure`         everybody, in the clear
//
// Everything that can be found wrong is found when credentials are made: a message, not a server that nobody can reach.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include "coordinator/auth/security.h"
#include "engine/base/status.h"

namespace gridquant::auth {

// InvalidArgument, NotFound, FailedPrecondition: what of the options or files cannot work, and what to do.
StatusOr<std::shared_ptr<grpc::ServerCredentials>> server_credentials(const ServerSecurity& security,
                                                                      const std::string& address);
inline constexpr const char* kManyServers = "*";
// `address` is the server's, HOST:PORT, or kManyServers.
StatusOr<std::shared_ptr<grpc::ChannelCredentials>> channel_credentials(const ClientSecurity& security,
                                                                        const std::string& address);

}  // namespace gridquant::auth
