// Where slow work is done that must not hold up the owner of the scheduler: reading artifacts, hashing models,
// delivering.
#pragma once

#include <functional>
#include <memory>

namespace gridquant::control {

class Executor {
 public:
  virtual ~Executor() = default;
  // Any thread. The work may run at once, on this thread.
  virtual void run(std::function<void()> work) = 0;
};

// `threads` threads and a queue; the destructor finishes what runs and drops what waits.
std::unique_ptr<Executor> make_thread_executor(int threads);
// Runs everything at once, for tests.
std::unique_ptr<Executor> make_inline_executor();

}  // namespace gridquant::control
