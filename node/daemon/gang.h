// Several ranks as one: mpirun's command line, what our remote launcher (`gridquant rsh-agent`) is told, and which
// arguments of Open MPI's daemon we let through. Pure: starts nothing.
//
// The head runs mpirun. Its own ranks are mpirun's children ("localhost"); for every other node mpirun calls the remote
// launcher with an alias (gq1, gq2, ...: names that mpirun cannot take for this machine) and the daemon's command line.
// The launcher finds in its environment what node an alias is, where its agent listens, and the lease's secret.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::node {

struct GangHost {
  std::string node{};
  int ranks = 1;
  std::string address{};  // HOST:PORT of its agent
};

struct GangOptions {
  std::string mpirun = "/usr/bin/mpirun";
  std::string gridquant{};      // path of the program whose `rsh-agent` is the remote launcher
  std::string interfaces{};     // network interfaces or CIDR blocks for Open MPI; "": its own choice
  std::string shared_folder{};  // for memory that ranks of one node share; exists on every node
  int64_t grace_ms = 10'000;    // of the worker, after SIGTERM
  bool as_root = false;
  std::vector<std::string> environment{};  // "NAME=value": of mpirun, and so of the remote launcher
};

// argv of mpirun for these ranks, the head's first. `worker`: the worker's argv.
std::vector<std::string> mpirun_command(const GangOptions& options, std::span<const GangHost> hosts,
                                        const std::vector<std::string>& worker);

// What `gridquant rsh-agent` is told, in one variable.
inline constexpr const char* kGangVariable = "GRIDQUANT_GANG";
struct GangTicket {
  uint64_t epoch = 0;
  std::string secret{};
  struct Member {
    std::string node{}, address{};
  };
  std::map<std::string, Member> aliases{};
};
std::string write_ticket(uint64_t epoch, const std::string& secret, std::span<const GangHost> hosts);
StatusOr<GangTicket> read_ticket(const std::string& text);

// The arguments as mpirun gives them to a remote launcher after the host's name (" orted", -mca, NAME, "VALUE" with
// quotes for a shell, ...) -> orted's arguments. No shell is asked: whatever would need one is refused.
StatusOr<std::vector<std::string>> daemon_arguments(std::span<const std::string> from_mpirun);

// What an agent lets through: parameters of the kinds that mpirun_command() leads to, and nothing that names a program
// or a plug-in. Drops the remote launcher's own parameters. PermissionDenied names what is refused.
StatusOr<std::vector<std::string>> admit_daemon_arguments(std::span<const std::string> arguments);
Status admit_daemon_variable(const std::string& name);

}  // namespace gridquant::node
