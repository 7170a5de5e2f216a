// Ranks of one machine as one: where all of a stage's ranks share memory, their pools become one, and what would be
// sums and codes on their way from rank to rank is memory that all see. Whoever is held up takes fewer tasks, as a
// thread of one process does.
#pragma once

#include <memory>

#include "engine/comm/communicator.h"
#include "engine/device/crew.h"
#include "engine/device/thread_pool.h"

namespace gridquant::stages {

class RankCrew {
 public:
  // Of all ranks, each with a pool of so many threads; null, on all of them, where they cannot share memory.
  static StatusOr<std::unique_ptr<RankCrew>> make(comm::Communicator& comm, int threads);

  // Spans the ranks: see crew.h for what that asks.
  device::ThreadPool& pool() { return pool_; }

 private:
  RankCrew(comm::Communicator& comm, comm::SharedMemory memory, int threads, int all_threads);

  comm::SharedMemory memory_;
  device::Crew crew_;
  device::ThreadPool pool_;
};

}  // namespace gridquant::stages
