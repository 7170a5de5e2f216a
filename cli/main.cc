// gridquant: the command line. Only what belongs to the process lies here; each subcommand has its own file.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "node/daemon/gang.h"

namespace gridquant::cli {
namespace {

// Where a coordinator's clients find what proves who they are, unless the command line says it.
auth::ClientSecurity security_of_environment() {
  auth::ClientSecurity security;
  const auto read = [](const char* name, std::string& value) {
    if (const char* text = std::getenv(name); text != nullptr) value = text;
  };
  read("GRIDQUANT_TLS_CA", security.tls.ca);
  read("GRIDQUANT_TLS_CERT", security.tls.certificate);
  read("GRIDQUANT_TLS_KEY", security.tls.key);
  read("GRIDQUANT_TOKEN_FILE", security.token_file);
  return security;
}

bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

int run_main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);  // a reader that went away (| head) must not leave a run without its end
  std::error_code error;
  Invocation invocation{.out = std::cout,
                        .err = std::cerr,
                        .working_folder = {},
                        .own_folder = {},
                        .coordinator = {},
                        .security = security_of_environment()};
  invocation.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  invocation.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  if (const char* path = std::getenv("PATH")) invocation.search_path = path;
  invocation.working_folder = std::filesystem::current_path(error).string();
  invocation.own_folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
  if (const char* coordinator = std::getenv("GRIDQUANT_COORDINATOR")) invocation.coordinator = coordinator;
  if (const char* ticket = std::getenv(node::kGangVariable)) invocation.gang_ticket = ticket;
  const StatusOr<device::CpuInfo> cpu = device::cpu_within(invocation.cpu, std::getenv(device::kMaxCpuVariable));
  if (!cpu.ok()) {
    std::cerr << "gridquant: " << cpu.status().message() << "\n";
    return kExitUsage;
  }
  invocation.cpu = *cpu;

  const CommandLine line("gridquant",
                         "Quantizes language models: a YAML pipeline from weights to a checked checkpoint.");
  const Command app = line.root();
  app.require_command();
  app.set_footer(
      "Exit codes: 0 done, 1 the run failed, 2 usage or validation, 3 not found, 4 no coordinator answered,\n"
      "5 the coordinator refused, 130 interrupted.");
  for (const auto add :
       {add_run,    add_validate,   add_schema,      add_get,   add_list,      add_logs,  add_explain, add_submit,
        add_watch,  add_cancel,     add_retry,       add_pause, add_delete,    add_nodes, add_queues,  add_gc,
        add_render, add_completion, add_coordinator, add_node,  add_rsh_agent, add_token, add_version}) {
    add(app, invocation);
  }
  for (int i = 1; i < argc; ++i) {
    if (is_utf8(argv[i])) continue;
    std::cerr << "gridquant: argument " << i << " is no UTF-8 text, which runs and records are kept in\n";
    return kExitUsage;
  }
  if (argc > 1 && argv[1][0] != '-' && !line.has_command(argv[1])) {
    std::cerr << "gridquant: there is no command '" << argv[1] << "': see gridquant --help\n";
    return kExitUsage;
  }
  if (!line.parse({argv + 1, argv + argc}, std::cout, std::cerr)) return kExitUsage;
  return invocation.exit_code;
}

}  // namespace
}  // namespace gridquant::cli

int main(int argc, char** argv) {
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // what goes wrong is said once, by us
  try {
    return gridquant::cli::run_main(argc, argv);
  } catch (const std::exception& problem) {
    std::cerr << "gridquant: internal error: " << problem.what() << "\n";
    return gridquant::cli::kExitRunFailed;
  }
}
