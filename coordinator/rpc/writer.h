// A server stream whose messages come one at a time from other threads: one write under way, one Finish at the end, and
// itself alive until gRPC is done with it.
#pragma once

#include <deque>
#include <memory>
#include <utility>

#include <grpcpp/support/server_callback.h>

#include "absl/synchronization/mutex.h"

namespace gridquant::rpc {

template <class Message>
class Writer : public grpc::ServerWriteReactor<Message>, public std::enable_shared_from_this<Writer<Message>> {
 public:
  // Kept until OnDone.
  void hold() { self_ = this->shared_from_this(); }
  void OnDone() override { self_.reset(); }  // may destroy it

  void OnWriteDone(bool ok) override {
    bool wants = false;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) cancelled_ = true;
      wants = !go_on();
    }
    if (wants) want_more();
  }
  void OnCancel() override {
    {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
      go_on();
    }
    cancelled();
  }

 protected:
  // Called when everything given has been written; on any thread. Ends in give() or end(), perhaps later.
  virtual void want_more() = 0;
  virtual void cancelled() = 0;

  void give(std::deque<Message> messages) {
    bool wants = false;
    {
      absl::MutexLock lock(&mutex_);
      for (Message& message : messages) queue_.push_back(std::move(message));
      wants = !go_on();
    }
    if (wants) want_more();
  }
  void end(const grpc::Status& status) {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    status_ = status;
    go_on();
  }
  bool is_cancelled() {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }

 private:
  // The next write, or the end. False: there is nothing to do but to ask for more.
  bool go_on() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_ || writing_) return true;
    if (cancelled_) {
      finished_ = true;
      this->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller has gone"));
      return true;
    }
    if (!queue_.empty()) {
      current_ = std::move(queue_.front());
      queue_.pop_front();
      writing_ = true;
      this->StartWrite(&current_);
      return true;
    }
    if (!ending_) return false;
    finished_ = true;
    this->Finish(status_);
    return true;
  }

  std::shared_ptr<Writer> self_;
  absl::Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  Message current_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gridquant::rpc
