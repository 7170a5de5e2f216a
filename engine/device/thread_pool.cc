// The pool of device/thread_pool.h: tasks from one counter, the calling thread works too. OpenMP appears here only to
// be switched off: libdnnl is built on it, and a product must run on the thread that asked for it.
#include "engine/device/thread_pool.h"

#include <omp.h>

#include <atomic>
#include <cassert>
#include <chrono>
#include <thread>
#include <vector>

#include "engine/device/crew.h"
#include "engine/device/spin.h"

namespace gridquant::device {
namespace {

constexpr std::chrono::microseconds kPoolSpin{50};  // loops follow each other closely

}  // namespace

struct ThreadPool::State {
  using Task = std::function<void(int64_t, int)>;

  // A round is one parallel_for: what it is about is written before `round`, and read after.
  const Task* fn = nullptr;
  int64_t count = 0;
  bool stopping = false;
  alignas(64) std::atomic<uint32_t> round{0};
  alignas(64) std::atomic<uint32_t> busy{0};  // pool threads still inside the current round
  std::chrono::microseconds spin{};           // none where threads share cores
  alignas(64) std::atomic<int64_t> next{0};
  Crew* crew = nullptr;
  std::vector<std::thread> threads;

  int64_t take() { return crew != nullptr ? crew->next_task() : next.fetch_add(1); }
  void take_tasks(const Task& task, int64_t total, int thread) {
    for (int64_t i = take(); i < total; i = take()) task(i, thread);
  }

  // All tasks that this process takes.
  void run(const Task& task, int64_t total) {
    if (threads.empty() || total == 1) return take_tasks(task, total, 0);
    fn = &task;
    count = total;
    busy = static_cast<uint32_t>(threads.size());
    begin_round();
    take_tasks(task, total, 0);
    wait_until(busy, [](uint32_t left) { return left == 0; });
  }

  void begin_round() {
    ++round;
    round.notify_all();
  }

  template <typename Done>
  void wait_until(const std::atomic<uint32_t>& word, const Done& done) const {
    if (spin_until(spin, [&] { return done(word.load()); })) return;
    for (uint32_t value = word; !done(value); value = word) word.wait(value);
  }

  void work(int thread) {
    omp_set_num_threads(1);
    uint32_t seen = 0;
    while (true) {
      wait_until(round, [seen](uint32_t now) { return now != seen; });
      if (stopping) return;
      ++seen;  // the next round begins when this one is over
      take_tasks(*fn, count, thread);
      if (--busy == 0) busy.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads, Crew* crew) : state_(std::make_unique<State>()) {
  assert(threads >= 1);
  state_->crew = crew;
  const int all = crew == nullptr ? threads : crew->threads();
  if (static_cast<unsigned>(all) <= std::thread::hardware_concurrency()) state_->spin = kPoolSpin;
  omp_set_num_threads(1);
  for (int i = 1; i < threads; ++i) state_->threads.emplace_back([s = state_.get(), i] { s->work(i); });
}

ThreadPool::~ThreadPool() {
  state_->stopping = true;
  state_->begin_round();
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
