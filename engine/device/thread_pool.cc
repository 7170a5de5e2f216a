// The pool of device/thread_pool.h: tasks from one counter, the calling thread works too. OpenMP appears here only to
// be switched off: libdnnl is built on it, and a product must run on the thread that asked for it.
#include "engine/device/thread_pool.h"

#include <omp.h>

#include <atomic>
#include <cassert>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace gridquant::device {

struct ThreadPool::State {
  using Task = std::function<void(int64_t, int)>;

  absl::Mutex mutex;
  const Task* fn ABSL_GUARDED_BY(mutex) = nullptr;
  int64_t count ABSL_GUARDED_BY(mutex) = 0;
  uint64_t round ABSL_GUARDED_BY(mutex) = 0;  // one per parallel_for
  int busy ABSL_GUARDED_BY(mutex) = 0;        // pool threads still inside the current round
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::atomic<int64_t> next{0};
  std::vector<std::thread> threads;

  void take_tasks(const Task& task, int64_t total, int thread) {
    for (int64_t i = next.fetch_add(1); i < total; i = next.fetch_add(1)) task(i, thread);
  }

  void work(int thread) {
    omp_set_num_threads(1);
    uint64_t seen = 0;
    while (true) {
      const Task* task = nullptr;
      int64_t total = 0;
      {
        absl::MutexLock lock(&mutex);
        const auto woken = [this, seen]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return stopping || round != seen; };
        mutex.Await(absl::Condition(&woken));
        if (stopping) return;
        seen = round;
        task = fn;
        total = count;
      }
      take_tasks(*task, total, thread);
      absl::MutexLock lock(&mutex);
      --busy;
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  assert(threads >= 1);
  omp_set_num_threads(1);
  for (int i = 1; i < threads; ++i) state_->threads.emplace_back([s = state_.get(), i] { s->work(i); });
}

ThreadPool::~ThreadPool() {
  {
    absl::MutexLock lock(&state_->mutex);
    state_->stopping = true;
  }
  for (std::thread& thread : state_->threads) thread.join();
}

int ThreadPool::threads() const {
  return static_cast<int>(state_->threads.size()) + 1;
}

void ThreadPool::parallel_for(int64_t count, const std::function<void(int64_t, int)>& fn) {
  if (count <= 0) return;
  omp_set_num_threads(1);  // the caller need not be the thread that made the pool
  State& s = *state_;
  s.next.store(0);
  if (s.threads.empty() || count == 1) {
    s.take_tasks(fn, count, 0);
    return;
  }
  {
    absl::MutexLock lock(&s.mutex);
    s.fn = &fn;
    s.count = count;
    s.busy = static_cast<int>(s.threads.size());
    ++s.round;
  }
  s.take_tasks(fn, count, 0);
  absl::MutexLock lock(&s.mutex);
  const auto done = [&s]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(s.mutex) { return s.busy == 0; };
  s.mutex.Await(absl::Condition(&done));
  s.fn = nullptr;
}

}  // namespace gridquant::device
