// See session_link.h. The synchronous API: one stream per agent is not worth a reactor.
#include "node/rpc/session_link.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include <grpcpp/client_context.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/base/log.h"
#include "gridquant/v1/node.grpc.pb.h"

namespace gridquant::node {
namespace {

using SessionStream = grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>;

constexpr size_t kMaxProgress = 1'000;
constexpr absl::Duration kLastWords = absl::Seconds(1);

class Link final : public SessionLink {
 public:
  Link(std::shared_ptr<grpc::Channel> channel, Inbox& inbox, NodeFacts facts, SessionLinkOptions options)
      : stub_(v1::NodeService::NewStub(std::move(channel))),
        inbox_(inbox),
        facts_(std::move(facts)),
        options_(options),
        thread_([this] { connect_for_ever(); }) {}

  ~Link() override {
    {
      absl::MutexLock lock(&mutex_);
      closing_ = true;  // the writer says what waits and closes the stream, the coordinator answers with its end
      mutex_.AwaitWithTimeout(absl::Condition(this, &Link::is_over), kLastWords);
      if (context_ != nullptr) context_->TryCancel();
    }
    thread_.join();
  }

  void send(const sched::NodeReport& report) override {
    absl::MutexLock lock(&mutex_);
    report_ = to_proto(report, facts_);
  }
  void send(LogPiece piece) override {
    absl::MutexLock lock(&mutex_);
    if (connected_) logs_.push_back(to_proto(std::move(piece)));  // bounded by what may be unacknowledged
  }
  void send(AttemptProgress progress) override {
    absl::MutexLock lock(&mutex_);
    if (!connected_) return;
    if (progress_.size() >= kMaxProgress) progress_.pop_front();
    progress_.push_back(to_proto(progress));
  }

 private:
  void connect_for_ever() {
    int64_t pause_ms = options_.first_pause_ms;
    while (true) {
      grpc::ClientContext context;
      {
        absl::MutexLock lock(&mutex_);
        if (closing_) return;
        context_ = &context;
      }
      bool heard = false;
      const grpc::Status status = one_stream(context, heard);
      if (heard) pause_ms = options_.first_pause_ms;
      if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION ||
          status.error_code() == grpc::StatusCode::INVALID_ARGUMENT) {
        inbox_.push(Displaced{status.error_message()});
        absl::MutexLock lock(&mutex_);
        context_ = nullptr;
        return;
      }
      absl::MutexLock lock(&mutex_);
      context_ = nullptr;
      if (!closing_ && (heard || pause_ms == options_.first_pause_ms)) {
        base::log(base::LogLevel::kWarning,
                  absl::StrCat("no connection to the coordinator (", status.error_message(), "): what runs goes on"));
      }
      mutex_.AwaitWithTimeout(absl::Condition(&closing_), absl::Milliseconds(pause_ms));
      pause_ms = std::min(pause_ms * 2, options_.longest_pause_ms);
    }
  }

  grpc::Status one_stream(grpc::ClientContext& context, bool& heard) {
    const std::unique_ptr<SessionStream> stream = stub_->Session(&context);
    {
      absl::MutexLock lock(&mutex_);
      logs_.clear();
      progress_.clear();
      connected_ = true;
      broken_ = false;
      reported_ = false;
    }
    inbox_.push(Connected{});
    std::thread writer([&] { write_all(*stream); });
    v1::SessionResponse response;
    while (stream->Read(&response)) {
      if (!heard) base::log(base::LogLevel::kInfo, "connected to the coordinator");
      heard = true;
      receive(response);
    }
    {
      absl::MutexLock lock(&mutex_);
      connected_ = false;
      broken_ = true;
    }
    writer.join();  // a write that waits fails too: the stream is over
    return stream->Finish();
  }

  void receive(const v1::SessionResponse& response) {
    if (response.has_desired()) inbox_.push(from_proto(response.desired()));
    if (response.has_log_acknowledged()) {
      inbox_.push(LogAcknowledged{response.log_acknowledged().epoch(), response.log_acknowledged().offset()});
    }
  }

  bool is_over() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !connected_; }
  bool has_work() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // A stream begins with a report.
    return broken_ || closing_ || report_.has_value() || (reported_ && (!logs_.empty() || !progress_.empty()));
  }

  void write_all(SessionStream& stream) {
    while (true) {
      v1::SessionRequest request;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &Link::has_work));
        if (broken_) return;
        if (closing_ && !report_ && logs_.empty()) break;
        next(request);
      }
      if (!stream.Write(request)) return;  // the reader sees the same end
    }
    stream.WritesDone();
  }

  void next(v1::SessionRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (report_) {
      *request.mutable_report() = *std::move(report_);
      report_.reset();
      reported_ = true;
    } else if (!progress_.empty()) {
      *request.mutable_progress() = std::move(progress_.front());
      progress_.pop_front();
    } else {
      *request.mutable_log() = std::move(logs_.front());
      logs_.pop_front();
    }
  }

  const std::unique_ptr<v1::NodeService::Stub> stub_;
  Inbox& inbox_;
  const NodeFacts facts_;
  const SessionLinkOptions options_;
  absl::Mutex mutex_;
  std::optional<v1::NodeReport> report_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::LogChunk> logs_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::AttemptProgress> progress_ ABSL_GUARDED_BY(mutex_);
  bool connected_ ABSL_GUARDED_BY(mutex_) = false;
  bool reported_ ABSL_GUARDED_BY(mutex_) = false;  // on this stream
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<SessionLink> SessionLink::start(std::shared_ptr<grpc::Channel> channel, Inbox& inbox, NodeFacts facts,
                                                SessionLinkOptions options) {
  return std::make_unique<Link>(std::move(channel), inbox, std::move(facts), options);
}

}  // namespace gridquant::node
