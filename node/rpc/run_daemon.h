// The caller's side of AgentService.RunDaemon: what `gridquant rsh-agent` does in the place of ssh.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/security/credentials.h>

#include "engine/base/status.h"
#include "node/daemon/gang.h"

namespace gridquant::node {

// Runs orted with `arguments` (see daemon_arguments) on the node that `alias` is. Its output goes to `print`, piece by
// piece. Returns its exit code; when this process dies, so does the daemon.
StatusOr<int> run_daemon(const GangTicket& ticket, const std::string& alias, const std::vector<std::string>& arguments,
                         const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                         const std::function<void(const std::string&)>& print);

}  // namespace gridquant::node
