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
#include "engine/device/crew.h"

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
  Crew* crew = nullptr;
  std::vector<std::thread> threads;

  int64_t take() { return crew != nullptr ? crew->next_task() : next.fetch_add(1); }
  void take_tasks(const Task& task, int64_t total, int thread) {
    for (int64_t i = take(); i < total; i = take()) task(i, thread);
  }

  // All tasks that this process takes.
  void run(const Task& task, int64_t total) {
    if (threads.empty() || total == 1) return take_tasks(task, total, 0);
    {
      absl::MutexLock lock(&mutex);
      fn = &task;
      count = total;
      busy = static_cast<int>(threads.size());
      ++round;
    }
    take_tasks(task, total, 0);
    absl::MutexLock lock(&mutex);
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return busy == 0; };
    mutex.Await(absl::Condition(&done));
    fn = nullptr;
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

ThreadPool::ThreadPool(int threads, Crew* crew) : state_(std::make_unique<State>()) {
  assert(threads >= 1);
  state_->crew = crew;
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

int ThreadPool::all_threads() const {
  return state_->crew == nullptr ? threads() : state_->crew->threads();
}

void ThreadPool::parallel_for(int64_t count, const std::function<void(int64_t, int)>& fn) {
  if (count <= 0) return;
  omp_set_num_threads(1);  // the caller need not be the thread that made the pool
  State& s = *state_;
  s.next.store(0);
  if (s.crew != nullptr) s.crew->begin_loop();
  s.run(fn, count);
  if (s.crew != nullptr) s.crew->end_loop();
}

std::pmr::memory_resource* ThreadPool::memory() const {
  return state_->crew == nullptr ? nullptr : state_->crew->memory();
}

bool ThreadPool::all(bool own) {
  return state_->crew == nullptr ? own : state_->crew->all(own);
}

void ThreadPool::wait_while(const std::atomic<uint32_t>& word, uint32_t value) {
  if (state_->crew != nullptr) return state_->crew->wait_while(word, value);
  word.wait(value);
}

void ThreadPool::publish(std::atomic<uint32_t>& word, uint32_t value) {
  if (state_->crew != nullptr) return state_->crew->publish(word, value);
  word.store(value);
  word.notify_all();
}

bool ThreadPool::lost() const {
  return state_->crew != nullptr && state_->crew->lost();
}

}  // namespace gridquant::device
