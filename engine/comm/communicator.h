// The ranks that work on one stage together, behind a seam: one rank alone (self_comm), ranks on threads of one process
// (thread_comm, for tests), processes under MPI (mpi_comm; where the build has no MPI, no_mpi). It moves bytes and
// waits; it never adds numbers: sums whose order matters are made above it, from what it moved.
//
// Every rank of a communicator calls the same operations in the same order with matching sizes: a rank that does not
// makes the others wait until the timeout. Used from one thread per rank; of MPI the one that started it.
// Errors: Aborted (a rank is lost, or called end_all: the worker exits with kPeerLost, which is retried),
// DeadlineExceeded (the others did not come within the timeout). After an error a communicator is good for nothing but
// end_all().
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::comm {

// Null where there is none. It is there as long as anybody has `owner`.
struct SharedMemory {
  std::span<std::byte> bytes;
  std::shared_ptr<void> owner;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;
  // Of them on this machine: what they share its cores with.
  virtual int local_size() const = 0;

  // Returns when all ranks have called it.
  virtual Status barrier() = 0;
  // `data` of rank `root` goes to all; the same size everywhere.
  virtual Status broadcast(std::span<std::byte> data, int root) = 0;
  // `all` consists of one piece per rank, of counts[r] bytes, in order of ranks. Each rank has filled in its own; the
  // others' are filled in. The same counts everywhere; zero is allowed.
  virtual Status all_gather(std::span<std::byte> all, std::span<const size_t> counts) = 0;
  // Rank r gets to[r]; what it sent us lies in from[r] then. Sizes agree in pairs; zero is allowed.
  virtual Status exchange(std::span<const std::span<const std::byte>> to,
                          std::span<const std::span<std::byte>> from) = 0;

  // New memory that all ranks see, zeros, each at an address of its own; what nobody touches costs nothing. Null where
  // the ranks are not all on one machine, or its processes cannot share memory. Ranks that work with it need not meet
  // in operations: who waits for others calls wait_sign() again and again, from any thread. It is false where the work
  // was ended.
  virtual StatusOr<SharedMemory> share(size_t bytes) = 0;
  virtual bool wait_sign() = 0;

  // Ends all ranks' work: their operations return Aborted, or their processes end, with `exit_code` where the program
  // that started them tells it. May not return.
  virtual void end_all(int exit_code) = 0;

  // Of each wait for others; the default is kTimeout. Returns what it was.
  virtual std::chrono::milliseconds set_timeout(std::chrono::milliseconds timeout) = 0;
};

// A wait for ranks that do the same work as this one. What one rank does alone while the others wait (reading text,
// writing what it generated) takes longer: AloneScope.
inline constexpr std::chrono::milliseconds kTimeout = std::chrono::minutes(30);
inline constexpr std::chrono::milliseconds kAloneTimeout = std::chrono::hours(48);

class AloneScope {
 public:
  explicit AloneScope(Communicator& comm) : comm_(comm), before_(comm.set_timeout(kAloneTimeout)) {}
  ~AloneScope() { comm_.set_timeout(before_); }
  AloneScope(const AloneScope&) = delete;
  AloneScope& operator=(const AloneScope&) = delete;

 private:
  Communicator& comm_;
  std::chrono::milliseconds before_;
};

// One rank. Stateless, lives for ever.
Communicator& self();

// `size` ranks for threads of this process, as if they were spread over so many machines. Each may outlive the others.
std::vector<std::unique_ptr<Communicator>> make_thread_ranks(int size, int machines = 1);

// Starts MPI, and ends it when it is destroyed. The calling thread is the one that uses it. `on_wait`, where given, is
// called again and again while an operation waits: the rank is alive. Unimplemented in a build without MPI.
StatusOr<std::unique_ptr<Communicator>> make_mpi(void (*on_wait)());

}  // namespace gridquant::comm
