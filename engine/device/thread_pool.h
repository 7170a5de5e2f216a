// A fixed pool of threads for leaves and tiles. Results never depend on how many threads there are: a task may write
// only what is its own, and whoever combines results does so in task order.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>

namespace gridquant::device {

class Crew;

class ThreadPool {
 public:
  // `threads` >= 1, the calling thread included. Every thread runs library products (oneDNN) single-threaded.
  explicit ThreadPool(int threads) : ThreadPool(threads, nullptr) {}
  // This process's part of a pool that spans the processes of `crew` (borrowed): crew.h says what that asks of those
  // who use it.
  ThreadPool(int threads, Crew* crew);
  ~ThreadPool();
  int threads() const;      // of this process
  int all_threads() const;  // of all processes: how far a loop is worth cutting

  // Calls fn(task, thread) for task in [0, count), taken from a queue in increasing order; returns when all are done.
  // `thread` is in [0, threads()) and no two tasks run at once with the same one: it indexes scratch memory.
  // Not reentrant: fn must not call parallel_for on the same pool. Called from one thread at a time.
  void parallel_for(int64_t count, const std::function<void(int64_t task, int thread)>& fn);

  // What follows is for loops that may span processes; inside one it does what one would expect.

  // For memory that tasks write and others read; null: the heap.
  std::pmr::memory_resource* memory() const;
  // After a loop: whether `own` is true of every process, where each knows it of its own tasks.
  bool all(bool own);
  // Inside a task, about a word in memory(): waits while it has this value; changes it.
  void wait_while(const std::atomic<uint32_t>& word, uint32_t value);
  void publish(std::atomic<uint32_t>& word, uint32_t value);
  // Other processes did not come: what loops left since is worth nothing.
  bool lost() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gridquant::device
