// gridquant rsh-agent: what a gang's mpirun calls in the place of ssh. Hidden: nobody starts it by hand.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "node/rpc/rsh_agent.h"

namespace gridquant::cli {

void add_rsh_agent(Command app, Invocation& invocation) {
  const Command command = app.add_command("rsh-agent", "");
  command.hide();
  command.take_rest();
  command.on_given([&invocation, command] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // mpirun's end is ours, and so the daemon's
    if (::getppid() == 1) return;
    const StatusOr<int> code = node::rsh_agent(invocation.gang_ticket, command.rest(), invocation.security,
                                               [&](const std::string& text) { invocation.err << text << std::flush; });
    if (!code.ok()) return fail(invocation, "text", code.status(), kExitRunFailed);
    invocation.exit_code = *code;
  });
}

}  // namespace gridquant::cli
