// `gridquant rsh-agent ALIAS orted ...`: asks the agent of the node that ALIAS is to run orted, prints what it prints,
// and ends as it ends.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "coordinator/auth/security.h"
#include "engine/base/status.h"

namespace gridquant::node {

// `ticket`: the value of the variable kGangVariable. `arguments`: as mpirun gives them, the alias first.
// Of `security` the TLS files count: no token is shown to an agent.
StatusOr<int> rsh_agent(const std::string& ticket, const std::vector<std::string>& arguments,
                        const auth::ClientSecurity& security, const std::function<void(const std::string&)>& print);

}  // namespace gridquant::node
