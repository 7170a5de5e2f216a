// A gang's processes: the command line of mpirun, and what its exit code means. Verified with Open MPI 4.1.4.
// Not here: gangs over several nodes, whose agents start orted.
#pragma once

#include <string>
#include <vector>

namespace gridquant::node {

struct Gang {
  std::string mpirun;  // absolute path
  int ranks = 1;
  std::vector<std::string> worker;  // of each rank; worker[0]: absolute path
};

// All ranks on this machine: no network, no binding to cores (the worker shares them out itself), more ranks than cores
// allowed. One rank is started without mpirun.
std::vector<std::string> local_command(const Gang& gang);

// The class of failure that mpirun's exit code stands for must be a worker's. mpirun returns the code of the first rank
// that ended with one, 128 + signal of one that a signal ended, and a number of its own (1, 205, ...) where it was told
// to stop, or lost a process or a node: that becomes kPeerLost, which is retried.
int gang_exit_code(int mpirun_code);

// The first executable file called `name` in the folders of `path` (as in PATH), or "".
std::string find_program(const std::string& name, const std::string& path);

}  // namespace gridquant::node
