// See rsh_agent.h.
#include "node/rpc/rsh_agent.h"

#include <span>

#include "coordinator/auth/credentials.h"
#include "node/daemon/gang.h"
#include "node/rpc/run_daemon.h"

namespace gridquant::node {

StatusOr<int> rsh_agent(const std::string& ticket, const std::vector<std::string>& arguments,
                        const auth::ClientSecurity& security, const std::function<void(const std::string&)>& print) {
  GQ_ASSIGN_OR_RETURN(const GangTicket gang, read_ticket(ticket));
  if (arguments.size() < 2) return absl::InvalidArgumentError("rsh-agent: a node and a command are needed");
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> for_orted, daemon_arguments(std::span(arguments).subspan(1)));
  GQ_ASSIGN_OR_RETURN(const auto credentials, auth::channel_credentials({.tls = security.tls}, auth::kManyServers));
  return run_daemon(gang, arguments[0], for_orted, credentials, print);
}

}  // namespace gridquant::node
