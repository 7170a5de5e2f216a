// A server stream that goes on where it was cut. What "where" means is the cursor's: which request asks for what is
// missing, and what of a message is new. Private to coordinator/client.
//
// One thread, no callbacks: next() turns the call's completion queue.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>

#include "coordinator/client/client.h"
#include "coordinator/client/errors.h"

namespace gridquant::client {

// A run's events: the last sequence number is all that there is to know.
class WatchCursor {
 public:
  using Request = v1::WatchRunRequest;
  using Message = v1::WatchRunResponse;
  explicit WatchCursor(Request request) : request_(std::move(request)) {}
  const Request& request() const { return request_; }
  // Whether the message is new. DataLoss: events are missing before it.
  StatusOr<bool> take(Message& message);

 private:
  Request request_;
};

// Logs: read again from the start, without what is there already.
class LogCursor {
 public:
  using Request = v1::ReadLogsRequest;
  using Message = v1::ReadLogsResponse;
  explicit LogCursor(Request request) : request_(std::move(request)) {}
  const Request& request() const { return request_; }
  StatusOr<bool> take(Message& message);

 private:
  Request request_;
  std::map<std::pair<std::string, int>, uint64_t> have_;  // stage, attempt -> bytes
};

template <class Cursor>
class ResumingStream final : public Stream<typename Cursor::Message> {
 public:
  using Message = typename Cursor::Message;
  using Step = StreamStep<Message>;
  using Kind = typename Step::Kind;
  using Reader = std::unique_ptr<grpc::ClientAsyncReader<Message>>;
  using Prepare = std::function<Reader(grpc::ClientContext*, const typename Cursor::Request&, grpc::CompletionQueue*)>;

  ResumingStream(ClientOptions options, Cursor cursor, Prepare prepare)
      : options_(std::move(options)), cursor_(std::move(cursor)), prepare_(std::move(prepare)), contact_(Now::now()) {}
  ~ResumingStream() override { drop(); }

  Step next(int64_t wait_ms) override {
    const auto until = Now::now() + std::chrono::milliseconds(wait_ms);
    while (true) {
      if (held_back_) return *std::exchange(held_back_, std::nullopt);
      if (ended_) return {.kind = Kind::kEnded, .message = {}, .status = *ended_};
      if (!call_ && again_ > until) return sleep_until(until), Step{};
      if (!call_) sleep_until(again_), begin();
      void* tag = nullptr;
      bool ok = false;
      const auto deadline = std::chrono::system_clock::now() + (until - Now::now());
      if (call_->queue.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return on_silence();
      if (Step step = on_event(ok); step.kind != Kind::kNothing) return step;
    }
  }

 private:
  using Now = std::chrono::steady_clock;
  enum class Waiting { kStart, kRead, kFinish };
  struct Call {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    Reader reader;
    Message message;
    grpc::Status status;
    Waiting waiting = Waiting::kStart;
    Now::time_point reading_since{};
  };
  static void sleep_until(Now::time_point until) { std::this_thread::sleep_until(until); }

  void begin() {
    call_ = std::make_unique<Call>();
    call_->reader = prepare_(&call_->context, cursor_.request(), &call_->queue);
    call_->reader->StartCall(nullptr);
  }

  void drop() {
    if (!call_) return;
    call_->context.TryCancel();
    call_->queue.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (call_->queue.Next(&tag, &ok)) {
    }
    call_.reset();
  }

  Step on_event(bool ok) {
    if (call_->waiting == Waiting::kFinish) return finished();
    if (!ok) {
      call_->waiting = Waiting::kFinish;
      call_->reader->Finish(&call_->status, nullptr);
      return {};
    }
    if (call_->waiting == Waiting::kStart) {
      call_->waiting = Waiting::kRead;
      call_->reading_since = Now::now();
      call_->reader->Read(&call_->message, nullptr);
      return {};
    }
    const StatusOr<bool> is_new = cursor_.take(call_->message);
    if (!is_new.ok()) return end(is_new.status());
    Step step;
    if (*is_new) step = {.kind = Kind::kMessage, .message = std::move(call_->message), .status = {}};
    call_->message = Message();
    call_->reader->Read(&call_->message, nullptr);
    const bool was_cut = was_cut_;
    in_contact();
    if (!was_cut) return step;
    if (*is_new) held_back_ = std::move(step);
    return {.kind = Kind::kReconnected, .message = {}, .status = {}};
  }

  // An open call may have nothing to say for long.
  Step on_silence() {
    const bool open = call_->waiting == Waiting::kRead && Now::now() - call_->reading_since > kOpenAfter;
    if (!open || !was_cut_) return {};
    in_contact();
    return {.kind = Kind::kReconnected, .message = {}, .status = {}};
  }

  void in_contact() {
    was_cut_ = false;
    had_contact_ = true;
    contact_ = Now::now();
    backoff_ms_ = kFirstBackoffMs;
  }

  Step finished() {
    const Status status = from_grpc(call_->status, options_.address);
    drop();
    if (!is_retryable(status)) return end(status);
    if (had_contact_ && !was_cut_) contact_ = Now::now();
    if (Now::now() - contact_ > std::chrono::milliseconds(bound_ms())) return end(status);
    again_ = Now::now() + std::chrono::milliseconds(backoff_ms_);
    backoff_ms_ = std::min(2 * backoff_ms_, kMaxBackoffMs);
    if (std::exchange(was_cut_, true) || !had_contact_) return {};
    return {.kind = Kind::kCut, .message = {}, .status = status};
  }

  // Before the first contact a wrong address is likelier than a coordinator that is being restarted.
  int64_t bound_ms() const { return had_contact_ ? options_.reconnect_ms : options_.unreachable_ms; }

  Step end(const Status& status) {
    drop();
    ended_ = status;
    return {.kind = Kind::kEnded, .message = {}, .status = status};
  }

  static constexpr int64_t kFirstBackoffMs = 50, kMaxBackoffMs = 1'000;
  static constexpr std::chrono::milliseconds kOpenAfter{500};
  const ClientOptions options_;
  Cursor cursor_;
  const Prepare prepare_;
  std::unique_ptr<Call> call_;
  std::optional<Status> ended_;
  std::optional<Step> held_back_;
  Now::time_point contact_, again_{};
  int64_t backoff_ms_ = kFirstBackoffMs;
  bool was_cut_ = false, had_contact_ = false;
};

}  // namespace gridquant::client
