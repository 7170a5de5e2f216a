// Options with which both sides of a connection prove who they are. See coordinator/auth/security.h.
#pragma once

#include "coordinator/auth/security.h"

namespace CLI {
class App;
}

namespace gridquant::cli {

struct Invocation;

// --tls-cert --tls-key --tls-ca --token-file --insecure-listen, of what listens.
void add_server_security_options(CLI::App& command, auth::ServerSecurity& security);

// --tls-cert --tls-key --tls-ca --token-file, of what connects. Defaults: what the environment says.
void add_client_security_options(CLI::App& command, const Invocation& invocation, auth::ClientSecurity& security);

}  // namespace gridquant::cli
