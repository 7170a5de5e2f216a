// Options with which both sides of a connection prove who they are. See coordinator/auth/security.h.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.h"
#include "coordinator/auth/security.h"

namespace gridquant::cli {

struct Invocation;

// --tls-cert --tls-key --tls-ca --token-file --insecure-listen, of what listens.
void add_server_security_options(Command command, auth::ServerSecurity& security);

// --tls-cert --tls-key --tls-ca --token-file, of what connects. Defaults: what the environment says.
void add_client_security_options(Command command, const Invocation& invocation, auth::ClientSecurity& security);

// Of an agent, which does both: one certificate for its session, for its server and for the daemons of gangs; its
// server has TLS if it has a certificate. --insecure-listen as of a server.
void add_agent_security_options(Command command, const Invocation& invocation, auth::ClientSecurity& security,
                                bool& insecure_listen);
auth::ServerSecurity server_of_agent(const auth::ClientSecurity& security, bool insecure_listen);

// The variables that give a child process the same files.
std::vector<std::string> tls_environment(const auth::TlsFiles& files);

}  // namespace gridquant::cli
