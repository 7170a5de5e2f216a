// See security_options.h.
#include "cli/security_options.h"

#include "cli/command.h"

namespace gridquant::cli {
namespace {

constexpr char kGroup[] = "Security";

}  // namespace

void add_server_security_options(Command command, auth::ServerSecurity& security) {
  const auto add = [&](const char* name, std::string& value, const char* text) {
    command.add_option(name, value, text).under(kGroup);
  };
  add("--tls-cert", security.tls.certificate, "Certificate (PEM, with its chain); read again when it changes");
  add("--tls-key", security.tls.key, "Its private key (PEM)");
  add("--tls-ca", security.tls.ca, "Authority that signs the certificates of agents and clients (PEM)");
  add("--token-file", security.token_file, "Who may call with a token: lines as gridquant token prints them");
  command
      .add_flag("--insecure-listen", security.insecure,
                "Listen beyond this machine without TLS: everybody who reaches it may do everything")
      .under(kGroup);
}

void add_client_security_options(Command command, const Invocation& invocation, auth::ClientSecurity& security) {
  security = invocation.security;
  const auto add = [&](const char* name, std::string& value, const char* text) {
    command.add_option(name, value, text).under(kGroup);
  };
  add("--tls-ca", security.tls.ca, "Authority that signs the coordinator's certificate (GRIDQUANT_TLS_CA)");
  add("--tls-cert", security.tls.certificate, "Client certificate (GRIDQUANT_TLS_CERT)");
  add("--tls-key", security.tls.key, "Its private key (GRIDQUANT_TLS_KEY)");
  add("--token-file", security.token_file, "File that holds a token (GRIDQUANT_TOKEN_FILE)");
}

void add_agent_security_options(Command command, const Invocation& invocation, auth::ClientSecurity& security,
                                bool& insecure_listen) {
  add_client_security_options(command, invocation, security);
  command.add_flag("--insecure-listen", insecure_listen, "Listen beyond this machine without TLS").under(kGroup);
}

auth::ServerSecurity server_of_agent(const auth::ClientSecurity& security, bool insecure_listen) {
  auth::ServerSecurity server;
  if (!security.tls.certificate.empty()) server.tls = security.tls;
  server.insecure = insecure_listen;
  return server;
}

std::vector<std::string> tls_environment(const auth::TlsFiles& files) {
  std::vector<std::string> variables;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) variables.push_back(name + value);
  };
  add("GRIDQUANT_TLS_CA=", files.ca);
  add("GRIDQUANT_TLS_CERT=", files.certificate);
  add("GRIDQUANT_TLS_KEY=", files.key);
  return variables;
}

}  // namespace gridquant::cli
