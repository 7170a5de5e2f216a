// A build without MPI: one rank.
#include "engine/comm/communicator.h"

namespace gridquant::comm {

StatusOr<std::unique_ptr<Communicator>> make_mpi(void (*)()) {
  return absl::UnimplementedError(
      "this gridquant-worker was built without MPI and runs one rank; build with -DGRIDQUANT_MPI=ON, or start one "
      "rank");
}

}  // namespace gridquant::comm
