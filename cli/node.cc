// gridquant node: a node's agent. Joins a coordinator, runs what it is told, until it is asked to stop.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/interrupts.h"
#include "cli/security_options.h"
#include "coordinator/auth/health_listener.h"
#include "coordinator/spec/scalars.h"
#include "engine/base/log.h"
#include "node/daemon/agent.h"
#include "node/rpc/agent_runtime.h"

namespace gridquant::cli {
namespace {

constexpr int kTurnMs = 100;                   // interruptions are looked for so often
constexpr int64_t kShortestSilenceMs = 1'000;  // workers have a heartbeat a second
constexpr int64_t kLongestMs = 86'400'000;

struct NodeOptions {
  std::string coordinator, workdir, name, listen = "127.0.0.1:0", advertise, memory, worker;
  std::string mpirun = "/usr/bin/mpirun", orted = "/usr/bin/orted", interfaces, health_listen;
  auth::ClientSecurity security;
  bool insecure_listen = false;
  std::vector<std::string> labels;
  int cores = 0;
  int64_t heartbeat_ms = 1'000, grace_ms = 10'000, silence_ms = 60'000, rank_start_ms = 120'000;
};

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

class NodeCommand {
 public:
  NodeCommand(Invocation& invocation, NodeOptions options) : invocation_(invocation), options_(std::move(options)) {}

  void execute() {
    const Status checked = check();
    if (!checked.ok()) return fail(invocation_, "text", checked, kExitUsage);
    const Status served = serve();
    if (!served.ok()) fail(invocation_, "text", served, kExitUsage);
    if (!displaced_.ok()) fail(invocation_, "text", displaced_, kExitRunFailed);
  }

 private:
  Status check() {
    if (options_.name.empty()) options_.name = host_name();
    if (options_.name.empty()) return absl::InvalidArgumentError("this machine has no name: give one (--name)");
    const std::string worker =
        options_.worker.empty() ? invocation_.own_folder + "/gridquant-worker" : absolute(invocation_, options_.worker);
    if (::access(worker.c_str(), X_OK) != 0) return absl::NotFoundError("the worker program is missing: " + worker);
    agent_.node = options_.name;
    agent_.worker = worker;
    agent_.inventory.cores = options_.cores > 0 ? options_.cores : invocation_.cpu.cores;
    agent_.inventory.memory_bytes = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
    if (!options_.memory.empty()) {
      const auto bytes = spec::read_size(options_.memory);
      if (!bytes) return absl::InvalidArgumentError("--memory must be a size like 64Gi, not " + options_.memory);
      agent_.inventory.memory_bytes = *bytes;
    }
    for (const std::string& label : options_.labels) {
      const size_t equals = label.find('=');
      if (equals == 0 || equals == std::string::npos) {
        return absl::InvalidArgumentError("--label must be key=value, not " + label);
      }
      agent_.inventory.labels[label.substr(0, equals)] = label.substr(equals + 1);
    }
    agent_.orted = options_.orted;
    agent_.heartbeat_ms = options_.heartbeat_ms;
    agent_.shutdown_grace_ms = options_.grace_ms;
    agent_.watch = {.silence_ms = options_.silence_ms, .start_ms = options_.rank_start_ms};
    agent_.gang = {.mpirun = options_.mpirun,
                   .gridquant = invocation_.own_folder + "/gridquant",
                   .interfaces = options_.interfaces,
                   .shared_folder = {},
                   .grace_ms = options_.grace_ms,
                   .as_root = ::geteuid() == 0,
                   .environment = {}};
    auth::ClientSecurity& security = options_.security;  // gangs start elsewhere: absolute paths
    for (std::string* path : {&security.tls.certificate, &security.tls.key, &security.tls.ca, &security.token_file}) {
      if (!path->empty()) *path = absolute(invocation_, *path);
    }
    agent_.gang.environment = tls_environment(security.tls);
    return absl::OkStatus();
  }

  node::NodeFacts facts(const node::NodeFiles& files) const {
    node::NodeFacts facts{.home = files.id(), .version = GRIDQUANT_VERSION, .cpu_model = invocation_.cpu.model};
    facts.cpu_kind = invocation_.cpu.kind();
    const auto automatic = device::resolve_compute("auto", invocation_.cpu);
    facts.compute_types.emplace_back(automatic.ok() ? device::name_of(*automatic) : "fp32");
    for (const char* name : {"fp32", "bf16"}) {
      if (name != facts.compute_types[0] && device::resolve_compute(name, invocation_.cpu).ok()) {
        facts.compute_types.emplace_back(name);
      }
    }
    return facts;
  }

  Status serve() {
    base::Env& env = base::posix_env();
    GQ_ASSIGN_OR_RETURN(node::NodeFiles files, node::NodeFiles::open(env, absolute(invocation_, options_.workdir)));
    SignalInterrupts interrupts;  // before any thread: they all must leave the signals to us
    const std::unique_ptr<node::Launcher> launcher = node::make_posix_launcher();
    node::Inbox inbox;
    const node::RuntimeOptions runtime{.node = options_.name,
                                       .coordinator = options_.coordinator,
                                       .listen = options_.listen,
                                       .advertise = options_.advertise,
                                       .facts = facts(files),
                                       .server_security = server_of_agent(options_.security, options_.insecure_listen),
                                       .client_security = options_.security};
    GQ_ASSIGN_OR_RETURN(const std::unique_ptr<node::AgentRuntime> network, node::AgentRuntime::start(runtime, inbox));
    std::unique_ptr<auth::HealthListener> health;
    if (!options_.health_listen.empty()) {
      GQ_ASSIGN_OR_RETURN(health, auth::HealthListener::start(options_.health_listen));
      health->set_serving(true);
    }
    node::Agent agent({env, base::system_clock(), *launcher, inbox, network->uplink(), files}, agent_);
    invocation_.err << "node " << options_.name << ": " << agent_.inventory.cores << " cores, listening on "
                    << network->address() << ", coordinator " << options_.coordinator << std::endl;
    while (agent.turn(kTurnMs)) {
      for (int left = interrupts.take(); left > 0; --left) agent.shut_down();
    }
    displaced_ = agent.displaced();
    return absl::OkStatus();
  }

  Invocation& invocation_;
  NodeOptions options_;
  node::AgentOptions agent_;
  Status displaced_;  // by the coordinator
};

}  // namespace

void add_node(Command app, Invocation& invocation) {
  const Command command = app.add_command("node", "Runs this machine's agent: it works for a coordinator");
  const auto options = std::make_shared<NodeOptions>();
  command.add_option("--coordinator", options->coordinator, "HOST:PORT of the coordinator").required();
  command.add_option("--workdir", options->workdir, "The node's own folder, on its own disk").required();
  command.add_option("--name", options->name, "Name of the node, unique in the cluster (default: the machine's)");
  command.add_option("--label", options->labels, "key=value: what nodeSelector asks for; may be repeated").one_each();
  command.add_option("--cores", options->cores, "Cores that stages may use (default: all)").in_range(1, 4096);
  command.add_option("--memory", options->memory, "Memory that stages may use, like 64Gi (default: all)");
  command.add_option("--listen", options->listen, "HOST:PORT for the other nodes' agents; port 0: any free one")
      .shows_default();
  command.add_option("--advertise", options->advertise,
                     "HOST or HOST:PORT under which they reach it (default: as it listens)");
  command.add_option("--health-listen", options->health_listen,
                     "HOST:PORT for gRPC health alone, without TLS (probes); default: none");
  command.add_option("--mpi-interfaces", options->interfaces,
                     "Network interfaces or CIDR blocks for the ranks of a gang (default: Open MPI's choice)");
  command.add_option("--mpirun", options->mpirun, "Open MPI's mpirun").shows_default();
  command.add_option("--orted", options->orted, "Open MPI's daemon").shows_default();
  command.add_option("--grace-ms", options->grace_ms, "Time for workers to stop when the agent is asked to")
      .in_range(0, kLongestMs)
      .shows_default();
  command.add_option("--rank-silence-ms", options->silence_ms, "A rank without a sign of life for so long hangs")
      .in_range(kShortestSilenceMs, kLongestMs)
      .shows_default();
  command.add_option("--rank-start-ms", options->rank_start_ms, "Time for all ranks of a gang to start")
      .in_range(kShortestSilenceMs, kLongestMs)
      .shows_default();
  command.add_option("--heartbeat-ms", options->heartbeat_ms, "Between two reports to the coordinator")
      .in_range(10, 3'000)
      .shows_default();
  add_agent_security_options(command, invocation, options->security, options->insecure_listen);
  command.add_option("--worker", options->worker, "").hidden();  // for tests
  command.on_given([&invocation, options] { NodeCommand(invocation, *options).execute(); });
}

}  // namespace gridquant::cli
