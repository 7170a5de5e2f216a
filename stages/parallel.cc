// Tasks that can fail, on the pool.
#include "stages/parallel.h"

#include <new>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace gridquant::stages {
namespace {

// The error of the lowest task number: the same one for any number of threads, as long as each task's own outcome is.
class FirstError {
 public:
  void add(int64_t task, Status status) {
    absl::MutexLock lock(&mutex_);
    if (status_.ok() || task < task_) {
      task_ = task;
      status_ = std::move(status);
    }
  }
  Status take() {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  absl::Mutex mutex_;
  int64_t task_ ABSL_GUARDED_BY(mutex_) = 0;
  Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Status guard_memory(const std::function<Status()>& fn) {
  try {
    return fn();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "out of memory: give the stage more, use fewer or shorter sequences, or fewer threads");
  }
}

Status parallel(device::ThreadPool& pool, int64_t count, const std::function<Status(int64_t task, int thread)>& fn) {
  FirstError first;
  pool.parallel_for(count, [&](int64_t task, int thread) {
    Status status = guard_memory([&] { return fn(task, thread); });
    if (!status.ok()) first.add(task, std::move(status));
  });
  return first.take();
}

}  // namespace gridquant::stages
