// Item b + 1 is made on a thread of its own while item b is used: at most two items exist at once. With prefetch off
// each is made when asked for; the items are the same.
#pragma once

#include <functional>
#include <future>
#include <optional>
#include <utility>

#include "engine/base/status.h"

namespace gridquant::stages {

template <typename T>
class Prefetcher {
 public:
  // Items begin .. end - 1, each made by make(index).
  Prefetcher(int64_t begin, int64_t end, bool ahead, std::function<StatusOr<T>(int64_t)> make)
      : next_(begin), end_(end), ahead_(ahead), make_(std::move(make)) {
    start();
  }
  ~Prefetcher() {
    if (pending_.valid()) pending_.wait();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // The next item. Precondition: not past the end.
  StatusOr<T> take() {
    if (!ahead_) return make_(next_++);
    StatusOr<T> item = pending_.get();
    ++next_;
    if (item.ok()) start();
    return item;
  }

 private:
  void start() {
    if (!ahead_ || next_ >= end_) return;
    pending_ = std::async(std::launch::async, [this, index = next_] { return make_(index); });
  }

  int64_t next_;
  int64_t end_;
  bool ahead_;
  std::function<StatusOr<T>(int64_t)> make_;
  std::future<StatusOr<T>> pending_;
};

// One piece of work beside the caller's own, such as writing a shard. The next start() waits for the last one.
class Background {
 public:
  ~Background() {
    if (pending_.valid()) pending_.wait();
  }
  // The status of the work before; if that failed, `work` is not started.
  Status start(std::function<Status()> work) {
    GQ_RETURN_IF_ERROR(wait());
    pending_ = std::async(std::launch::async, std::move(work));
    return absl::OkStatus();
  }
  Status wait() { return pending_.valid() ? pending_.get() : absl::OkStatus(); }

 private:
  std::future<Status> pending_;
};

}  // namespace gridquant::stages
