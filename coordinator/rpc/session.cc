// One agent's session: reports in, the latest desired state out; pieces of logs in, what was written of them out.
// Nothing queues up: a desired state that could not be sent yet is replaced by the next, an acknowledgement likewise.
// A piece of a log that cannot be written is not acknowledged until a while later, and then by what is there: the agent
// sends it again. Nothing else of the session depends on it.
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/limits.h"
#include "coordinator/rpc/node_service.h"

namespace gridquant::rpc {
namespace {

constexpr absl::Duration kAskAgain = absl::Seconds(2);  // for what could not be written

class Session final : public grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>,
                      public control::NodeSink,
                      public std::enable_shared_from_this<Session> {
 public:
  explicit Session(control::Control& control) : control_(control) {}

  void begin() {
    self_ = shared_from_this();
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end(grpc::Status::OK);  // the agent has closed it, or is gone
    if (const Status taken = take(); !taken.ok()) return end(to_grpc(taken));
    StartRead(&request_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) wants_end_ = true;
    go_on();
  }
  void OnCancel() override { end(grpc::Status(grpc::StatusCode::CANCELLED, "the agent has gone")); }
  void OnDone() override {
    if (!node_.empty()) control_.core().hang_up(node_, this);
    self_.reset();  // may destroy it
  }

  void desired(control::AssignedState state) override {
    absl::MutexLock lock(&mutex_);
    v1::SessionResponse response;
    to_proto(state, *response.mutable_desired());
    desired_ = std::move(response);
    go_on();
  }

 private:
  Status take() {
    switch (request_.message_case()) {
      case v1::SessionRequest::kReport:
        return take_report();
      case v1::SessionRequest::kLog:
        return node_.empty() ? report_first() : take_log(request_.log());
      case v1::SessionRequest::kProgress:
        if (node_.empty()) return report_first();
        take_progress(request_.progress());
        return absl::OkStatus();
      default:
        return absl::InvalidArgumentError("a message of no known kind");
    }
  }
  static Status report_first() { return absl::FailedPreconditionError("a session begins with a report"); }

  Status take_report() {
    GQ_ASSIGN_OR_RETURN(sched::NodeReport report, from_proto(request_.report()));
    if (!node_.empty() && node_ != report.node) {
      return absl::InvalidArgumentError("a session is of one node: " + node_ + ", then " + report.node);
    }
    node_ = report.node;
    ask_again();
    const Status posted = control_.core().report(
        std::move(report), shared_from_this(), [self = shared_from_this()](const StatusOr<std::string>& taken) {
          if (!taken.ok() && taken.status().code() != absl::StatusCode::kAborted) self->end(to_grpc(taken.status()));
        });
    // Too much to do: the next report says the same.
    return posted.code() == absl::StatusCode::kResourceExhausted ? absl::OkStatus() : posted;
  }

  Status take_log(const v1::LogChunk& chunk) {
    if (chunk.data().size() > kMaxLogChunkBytes) {
      return absl::InvalidArgumentError("a piece of a log has more than " + std::to_string(kMaxLogChunkBytes) +
                                        " bytes");
    }
    if (refused_.contains(chunk.log_name())) return absl::OkStatus();  // it comes again, with what was before it
    const StatusOr<uint64_t> there =
        control_.logs().append(chunk.log_name(), chunk.offset(), chunk.data(), chunk.last());
    if (absl::IsInvalidArgument(there.status())) return there.status();
    if (there.ok()) {
      acknowledge(chunk.epoch(), chunk.log_name(), *there);
    } else {
      refused_[chunk.log_name()] = {chunk.epoch(), absl::Now() + kAskAgain};
      warn(chunk, there.status());
    }
    return absl::OkStatus();
  }

  void acknowledge(uint64_t epoch, const std::string& log_name, uint64_t offset) {
    absl::MutexLock lock(&mutex_);
    v1::LogAcknowledged& answer = *acknowledged_[log_name].mutable_log_acknowledged();
    answer.set_epoch(epoch);
    answer.set_log_name(log_name);
    answer.set_offset(offset);
    go_on();
  }

  // With every report: agents send one a second.
  void ask_again() {
    for (auto log = refused_.begin(); log != refused_.end();) {
      if (absl::Now() < log->second.again) {
        ++log;
        continue;
      }
      acknowledge(log->second.epoch, log->first, control_.logs().size(log->first).value_or(0));
      log = refused_.erase(log);
    }
  }

  // Whoever watches the run is told once.
  void warn(const v1::LogChunk& chunk, const Status& why) {
    if (!warned_.insert(chunk.log_name()).second) return;
    const std::vector<std::string> parts = absl::StrSplit(chunk.log_name(), '/');
    control::Note note;
    note.run = parts[0];
    note.stage = parts[1];
    note.epoch = chunk.epoch();
    note.kind = "warning";
    note.message = "its log cannot be written just now, node " + node_ + " keeps it: " + std::string(why.message());
    control_.core().note(std::move(note));
  }

  void take_progress(const v1::AttemptProgress& progress) {
    control::Note note;
    note.run = progress.run();
    note.stage = progress.stage();
    note.epoch = progress.epoch();
    note.done = progress.done();
    note.total = progress.total();
    note.unit = progress.unit();
    note.message = progress.message();
    note.kind = progress.kind();
    control_.core().note(std::move(note));
  }

  void end(const grpc::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (!wants_end_) status_ = status;
    wants_end_ = true;
    go_on();
  }

  void go_on() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (wants_end_) {
      finished_ = true;
      Finish(status_);
      return;
    }
    if (desired_) {
      current_ = *std::move(desired_);
      desired_.reset();
    } else if (!acknowledged_.empty()) {
      current_ = std::move(acknowledged_.begin()->second);
      acknowledged_.erase(acknowledged_.begin());
    } else {
      return;
    }
    writing_ = true;
    StartWrite(&current_);
  }

  struct Refused {
    uint64_t epoch = 0;
    absl::Time again;
  };

  control::Control& control_;
  std::shared_ptr<Session> self_;
  // Of the reader, one message after the other.
  v1::SessionRequest request_;
  std::string node_;
  std::map<std::string, Refused> refused_;  // logs
  std::set<std::string> warned_;            // likewise
  absl::Mutex mutex_;
  std::optional<v1::SessionResponse> desired_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::SessionResponse> acknowledged_ ABSL_GUARDED_BY(mutex_);  // by log
  v1::SessionResponse current_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_end_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>* NodeService::Session(Context*) {
  const auto session = std::make_shared<rpc::Session>(calls_.control());
  session->begin();
  return session.get();
}

}  // namespace gridquant::rpc
