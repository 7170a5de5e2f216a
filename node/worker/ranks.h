// Whether this worker is one of several ranks: what mpirun and srun leave in the environment of what they start.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace gridquant::worker {

// --mpi: kAuto starts MPI exactly where a launcher of MPI programs started us.
enum class MpiMode { kAuto, kOn, kOff };
StatusOr<MpiMode> parse_mpi_mode(const std::string& text);

using Environment = std::function<const char*(const char* name)>;  // as getenv

// Whether to start MPI. FailedPrecondition where several of us were started that cannot know of each other (srun
// without a PMI that Open MPI speaks): they would all do the same work.
StatusOr<bool> wants_mpi(MpiMode mode, const Environment& environment);

// Threads of a rank: `wanted`, or its share of the cores where that is 0.
int threads_of_rank(int wanted, int cores, int local_ranks);

}  // namespace gridquant::worker
