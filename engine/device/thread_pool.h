// A fixed pool of threads for leaves and tiles. Results never depend on how many threads there are: a task may write
// only what is its own, and whoever combines results does so in task order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace gridquant::device {

class ThreadPool {
 public:
  // `threads` >= 1, the calling thread included. Every thread runs library products (oneDNN, BLAS) single-threaded.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  int threads() const;

  // Calls fn(task, thread) for task in [0, count), taken from a queue in increasing order; returns when all are done.
  // `thread` is in [0, threads()) and no two tasks run at once with the same one: it indexes scratch memory.
  // Not reentrant: fn must not call parallel_for on the same pool. Called from one thread at a time.
  void parallel_for(int64_t count, const std::function<void(int64_t task, int thread)>& fn);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gridquant::device
