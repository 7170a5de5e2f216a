// Command lines of mpirun.
#include "node/launch/mpirun.h"

#include <unistd.h>

#include <algorithm>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::node {

std::vector<std::string> local_command(const Gang& gang) {
  if (gang.ranks <= 1) return gang.worker;
  // Single copies between processes need a right (ptrace) that containers often lack, and then fail late and loudly.
  std::vector<std::string> command = {gang.mpirun,
                                      "--allow-run-as-root",
                                      "--oversubscribe",
                                      "--bind-to",
                                      "none",
                                      "--mca",
                                      "pml",
                                      "ob1",
                                      "--mca",
                                      "btl",
                                      "self,vader",
                                      "--mca",
                                      "btl_vader_single_copy_mechanism",
                                      "none",
                                      "-np",
                                      std::to_string(gang.ranks)};
  command.insert(command.end(), gang.worker.begin(), gang.worker.end());
  return command;
}

int gang_exit_code(int mpirun_code) {
  constexpr ExitCode kOfWorkers[] = {ExitCode::kDone,        ExitCode::kInput,     ExitCode::kParameters,
                                     ExitCode::kUnsupported, ExitCode::kInvariant, ExitCode::kCorruption,
                                     ExitCode::kNoSpace};
  const bool known = std::ranges::any_of(kOfWorkers, [&](ExitCode c) { return static_cast<int>(c) == mpirun_code; });
  const bool retried = mpirun_code >= 128 && mpirun_code < 128 + 65;  // a worker's, or a signal's
  return known || retried ? mpirun_code : static_cast<int>(ExitCode::kPeerLost);
}

std::string find_program(const std::string& name, const std::string& path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string file = base::join_path(path.substr(begin, end - begin), name);
    if (file.front() == '/' && ::access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  return "";
}

}  // namespace gridquant::node
