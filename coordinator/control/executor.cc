// See executor.h.
#include "coordinator/control/executor.h"

#include <deque>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace gridquant::control {
namespace {

class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(int threads) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { loop(); });
    }
  }
  ~ThreadExecutor() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      queue_.clear();
    }
    for (std::thread& thread : threads_) thread.join();
  }
  void run(std::function<void()> work) override {
    absl::MutexLock lock(&mutex_);
    if (!stopping_) queue_.push_back(std::move(work));
  }

 private:
  void loop() {
    while (true) {
      std::function<void()> work;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &ThreadExecutor::has_work));
        if (stopping_) return;
        work = std::move(queue_.front());
        queue_.pop_front();
      }
      work();
    }
  }
  bool has_work() const { return stopping_ || !queue_.empty(); }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

class InlineExecutor final : public Executor {
 public:
  void run(std::function<void()> work) override { work(); }
};

}  // namespace

std::unique_ptr<Executor> make_thread_executor(int threads) {
  return std::make_unique<ThreadExecutor>(threads);
}

std::unique_ptr<Executor> make_inline_executor() {
  return std::make_unique<InlineExecutor>();
}

}  // namespace gridquant::control
