// A crew of ranks.
#include "stages/rank_crew.h"

#include <unistd.h>

#include <numeric>
#include <utility>
#include <vector>

namespace gridquant::stages {
namespace {

// More than all that can be used at once: only pages that are touched count.
size_t memory_of_machine() {
  return static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

RankCrew::RankCrew(comm::Communicator& comm, comm::SharedMemory memory, int threads, int all_threads)
    : memory_(std::move(memory)),
      crew_({.memory = memory_.bytes,
             .members = comm.size(),
             .threads = all_threads,
             .waiting = [&comm] { return comm.wait_sign(); },
             .timeout = comm::kTimeout}),
      pool_(threads, &crew_) {}

StatusOr<std::unique_ptr<RankCrew>> RankCrew::make(comm::Communicator& comm, int threads) {
  if (comm.size() == 1 || comm.local_size() < comm.size()) return nullptr;
  std::vector<int> of_rank(static_cast<size_t>(comm.size()));
  of_rank[static_cast<size_t>(comm.rank())] = threads;
  // The first rank's size of the memory, in case that they see different ones.
  size_t bytes = memory_of_machine();
  GQ_RETURN_IF_ERROR(comm.broadcast(std::as_writable_bytes(std::span(&bytes, 1)), 0));
  GQ_RETURN_IF_ERROR(comm.all_gather(std::as_writable_bytes(std::span(of_rank)),
                                     std::vector<size_t>(of_rank.size(), sizeof(of_rank[0]))));
  GQ_ASSIGN_OR_RETURN(comm::SharedMemory memory, comm.share(bytes));
  if (memory.owner == nullptr) return nullptr;
  const int all_threads = std::accumulate(of_rank.begin(), of_rank.end(), 0);
  return std::unique_ptr<RankCrew>(new RankCrew(comm, std::move(memory), threads, all_threads));
}

}  // namespace gridquant::stages
