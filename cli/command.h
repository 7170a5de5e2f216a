// What main.cc gives every subcommand, and the one function that each subcommand's file provides.
//
// A subcommand adds itself to `app` and, when it is given, sets `invocation.exit_code`. It prints results to
// `invocation.out` and messages for people to `invocation.err`; it never calls exit().
#pragma once

#include <iosfwd>
#include <memory>
#include <string>

#include "cli/arguments.h"
#include "coordinator/auth/security.h"
#include "engine/device/cpu.h"

namespace gridquant::cli {

// Exit codes of gridquant itself (not of its worker).
inline constexpr int kExitOk = 0;
inline constexpr int kExitRunFailed = 1;
inline constexpr int kExitUsage = 2;  // command line, pipeline file, work folder: nothing was started
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitUnreachable = 4;  // no coordinator answered, or not in time: the same command may work later
inline constexpr int kExitRefused = 5;      // the coordinator answered no: not in that state, or not with those rights
inline constexpr int kExitCancelled = 130;

struct Invocation {
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  std::string working_folder;       // absolute
  std::string own_folder;           // where the gridquant binary lies; gridquant-worker is beside it
  std::string search_path = {};     // PATH of the environment
  std::string coordinator;          // GRIDQUANT_COORDINATOR: HOST:PORT, or ""
  std::string gang_ticket = {};     // the variable that a gang's mpirun hands on to rsh-agent
  auth::ClientSecurity security{};  // GRIDQUANT_TLS_CA, _TLS_CERT, _TLS_KEY, _TOKEN_FILE
  device::CpuInfo cpu = device::detect_cpu();
  int exit_code = kExitOk;
};

void add_coordinator(Command app, Invocation& invocation);
void add_run(Command app, Invocation& invocation);
void add_validate(Command app, Invocation& invocation);
void add_schema(Command app, Invocation& invocation);
void add_get(Command app, Invocation& invocation);
void add_list(Command app, Invocation& invocation);
void add_logs(Command app, Invocation& invocation);
void add_explain(Command app, Invocation& invocation);
void add_submit(Command app, Invocation& invocation);
void add_watch(Command app, Invocation& invocation);
void add_cancel(Command app, Invocation& invocation);
void add_retry(Command app, Invocation& invocation);
void add_pause(Command app, Invocation& invocation);  // and resume
void add_delete(Command app, Invocation& invocation);
void add_nodes(Command app, Invocation& invocation);
void add_queues(Command app, Invocation& invocation);
void add_gc(Command app, Invocation& invocation);
void add_render(Command app, Invocation& invocation);
void add_completion(Command app, Invocation& invocation);
void add_node(Command app, Invocation& invocation);
void add_rsh_agent(Command app, Invocation& invocation);
void add_token(Command app, Invocation& invocation);
void add_version(Command app, Invocation& invocation);

}  // namespace gridquant::cli
