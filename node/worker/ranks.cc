// Detection of launchers. Names: Open MPI's mpirun sets OMPI_COMM_WORLD_SIZE; srun --mpi=pmix sets PMIX_RANK,
// --mpi=pmi2 PMI_RANK; every srun sets SLURM_STEP_NUM_TASKS.
#include "node/worker/ranks.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace gridquant::worker {

StatusOr<MpiMode> parse_mpi_mode(const std::string& text) {
  if (text == "auto") return MpiMode::kAuto;
  if (text == "on") return MpiMode::kOn;
  if (text == "off") return MpiMode::kOff;
  return absl::InvalidArgumentError(absl::StrCat("--mpi must be auto, on or off, not ", text));
}

StatusOr<bool> wants_mpi(MpiMode mode, const Environment& environment) {
  if (mode != MpiMode::kAuto) return mode == MpiMode::kOn;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (environment(name) != nullptr) return true;
  }
  const char* tasks = environment("SLURM_STEP_NUM_TASKS");
  if (tasks != nullptr && std::atoi(tasks) > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("srun started ", tasks, " workers that cannot find each other; use srun --mpi=pmix (or mpirun)"));
  }
  return false;
}

int threads_of_rank(int wanted, int cores, int local_ranks) {
  return wanted > 0 ? wanted : std::max(1, cores / std::max(1, local_ranks));
}

}  // namespace gridquant::worker
