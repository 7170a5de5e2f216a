// gridquant coordinator: the control plane's process. It ends by SIGTERM or SIGINT, or when its state cannot be saved;
// what runs on nodes goes on in both cases, and the next coordinator takes it over.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/interrupts.h"
#include "coordinator/auth/health_listener.h"
#include "coordinator/rpc/server.h"
#include "engine/base/log.h"

namespace gridquant::cli {
namespace {

struct CoordinatorOptions {
  std::string listen = "127.0.0.1:7733";
  std::string workdir, store, ready_file;
  std::string health_listen;
  double node_lease_s = 10;
  double grace_s = 10;
  int keep_runs = 10'000;
  auth::ServerSecurity security;
};

control::Machine own_machine(const device::CpuInfo& cpu) {
  control::Machine machine{.cpu_kind = cpu.kind(), .cpu_model = cpu.model, .compute_types = {"fp32", "bf16"}};
  if (cpu.has_bf16_products()) machine.compute_types = {"bf16", "fp32"};
  machine.cores = cpu.cores;
  return machine;
}

class CoordinatorCommand {
 public:
  CoordinatorCommand(Invocation& invocation, CoordinatorOptions options)
      : invocation_(invocation), options_(std::move(options)) {}

  void execute() {
    // Before any thread is started: all of them inherit the blocked signals, so that only the descriptor sees them.
    SignalInterrupts interrupts;
    failure_fd_ = ::eventfd(0, EFD_CLOEXEC);
    const Status served = serve(interrupts);
    if (failure_fd_ >= 0) ::close(failure_fd_);
    if (!served.ok()) fail(invocation_, "text", served, kExitUsage);
    if (!failure_.ok()) fail(invocation_, "text", failure_, kExitRunFailed);
  }

 private:
  Status serve(SignalInterrupts& interrupts) {
    control::ControlOptions options;
    options.workdir = absolute(invocation_, options_.workdir);
    options.store = options_.store.empty() ? options.workdir : absolute(invocation_, options_.store);
    options.version = GRIDQUANT_VERSION;
    options.own = own_machine(invocation_.cpu);
    options.limits.node_lease_ms = static_cast<int64_t>(options_.node_lease_s * 1000);
    options.limits.stop_grace_ms = static_cast<int64_t>(options_.grace_s * 1000);
    options.limits.keep_runs = static_cast<size_t>(options_.keep_runs);
    control::Control control(options);
    GQ_RETURN_IF_ERROR(control.open(base::system_clock()));
    std::unique_ptr<auth::HealthListener> health;
    if (!options_.health_listen.empty()) {
      GQ_ASSIGN_OR_RETURN(health, auth::HealthListener::start(options_.health_listen));
    }
    // The last that can fail: calls that have come are answered only by what starts now.
    GQ_ASSIGN_OR_RETURN(const std::unique_ptr<rpc::Server> server,
                        rpc::Server::start(control, {options_.listen, security()}));
    control.start([this](const Status& failure) {
      failure_ = failure;
      const uint64_t one = 1;
      if (::write(failure_fd_, &one, sizeof(one)) < 0) base::log(base::LogLevel::kError, "cannot wake the main thread");
    });
    const Status told = tell(server->address(), control.core().replayed());
    if (health != nullptr) health->set_serving(told.ok());
    if (told.ok()) wait(interrupts);
    if (health != nullptr) health->set_serving(false);
    server->stop();
    control.stop();
    return told;
  }

  auth::ServerSecurity security() const {
    auth::ServerSecurity security = options_.security;
    for (std::string* path : {&security.tls.certificate, &security.tls.key, &security.tls.ca, &security.token_file}) {
      if (!path->empty()) *path = absolute(invocation_, *path);
    }
    return security;
  }

  Status tell(const std::string& address, size_t replayed) {
    invocation_.out << "listening on " << address << std::endl;
    base::log(base::LogLevel::kInfo,
              "coordinator: " + std::to_string(replayed) + " records replayed, listening on " + address);
    if (options_.ready_file.empty()) return absl::OkStatus();
    return base::write_file_atomically(base::posix_env(), absolute(invocation_, options_.ready_file), address + "\n");
  }

  void wait(SignalInterrupts& interrupts) const {
    pollfd waits[] = {{interrupts.wake_fd(), POLLIN, 0}, {failure_fd_, POLLIN, 0}};
    while (::poll(waits, 2, -1) < 0 && errno == EINTR) {
    }
  }

  Invocation& invocation_;
  const CoordinatorOptions options_;
  int failure_fd_ = -1;
  Status failure_;
};

}  // namespace

void add_coordinator(Command app, Invocation& invocation) {
  const Command command = app.add_command("coordinator", "Serves the control plane: runs of many nodes");
  const auto options = std::make_shared<CoordinatorOptions>();
  command.add_option("--listen", options->listen, "HOST:PORT; port 0 takes a free one").shows_default();
  add_workdir_option(command, options->workdir);
  command.add_option("--store", options->store,
                     "Folder of the artifacts, which every node sees under this very path (default: the work folder)");
  command.add_option("--node-lease", options->node_lease_s, "Seconds of silence after which a node is lost")
      .between(0.1, 86400.0)
      .shows_default();
  command.add_option("--grace", options->grace_s, "Seconds between TERM and KILL of a worker")
      .between(0.0, 86400.0)
      .shows_default();
  command.add_option("--keep-runs", options->keep_runs,
                     "Runs that are over and stay listed; older ones are deleted, as by gridquant delete. 0: all stay")
      .in_range(0, 1'000'000)
      .shows_default();
  command.add_option("--health-listen", options->health_listen,
                     "HOST:PORT for gRPC health alone, without TLS (probes); default: none");
  command.add_option("--ready-file", options->ready_file, "Written with HOST:PORT once calls are answered");
  command.add_option("--tls-cert", options->security.tls.certificate, "Certificate chain (PEM); all three or none");
  command.add_option("--tls-key", options->security.tls.key, "Its key (PEM)");
  command.add_option("--tls-ca", options->security.tls.ca, "Who signs the clients' certificates (PEM)");
  command.add_option("--token-file", options->security.token_file, "Tokens and their roles: see gridquant token");
  command.add_flag("--insecure-listen", options->security.insecure,
                   "Allow --listen on an address that other machines reach, without TLS");
  command.on_given([&invocation, options] { CoordinatorCommand(invocation, *options).execute(); });
}

}  // namespace gridquant::cli
