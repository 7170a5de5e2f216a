// ReadLogs: the logs of a run's attempts one after the other; followed ones are looked at again every kFollowMs.
#include <algorithm>
#include <chrono>
#include <set>

#include <grpcpp/alarm.h>

#include "coordinator/rpc/limits.h"
#include "coordinator/rpc/pipeline_service.h"
#include "coordinator/rpc/writer.h"

namespace gridquant::rpc {
namespace {

struct Source {  // one attempt's log
  std::string stage, name;
  int attempt = 0;
  bool over = false;  // the attempt, long enough ago for its log to be here
};

class LogsStream final : public Writer<v1::ReadLogsResponse> {
 public:
  LogsStream(control::Control& control, const v1::ReadLogsRequest& request) : control_(control), request_(request) {}

  void begin() { want_more(); }

 private:
  void want_more() override {
    if (is_cancelled()) return;
    const Status posted =
        control_.core().look([self = shared_from_this(), this](const control::View& view) { on_view(view); });
    if (!posted.ok()) end(to_grpc(posted));
  }
  void cancelled() override {}  // the next look, or the alarm, finds it

  void on_view(const control::View& view) {
    if (!view.ended.ok()) return end(to_grpc(view.ended));
    const sched::Run* run = view.scheduler.find_run(request_.run());
    if (run == nullptr) return end(to_grpc(absl::NotFoundError(sched::no_run(view.scheduler.state(), request_.run()))));
    if (!request_.stage().empty() && run->index.count(request_.stage()) == 0) {
      return end(to_grpc(absl::NotFoundError("run " + run->id + " has no stage '" + request_.stage() + "'")));
    }
    std::vector<Source> sources;
    bool open = false;  // more attempts may come
    for (const sched::Stage& stage : run->stages) {
      if (!request_.stage().empty() && request_.stage() != stage.plan.name) continue;
      open = open || (!is_over(stage.state) && !is_over(run->state));
      for (const sched::Attempt& attempt : stage.attempts) {
        if (request_.attempt() != 0 && request_.attempt() != attempt.number) continue;
        Source source{stage.plan.name, control::log_name_of(run->id, stage.plan.name, attempt.number), attempt.number};
        source.over = !attempt.outcome.empty() && view.now_ms >= attempt.finished_ms + kLogGraceMs;
        source.over = source.over || (!attempt.outcome.empty() && control_.logs().is_complete(source.name));
        sources.push_back(std::move(source));
      }
    }
    control_.executor().run(
        [self = shared_from_this(), this, sources = std::move(sources), open] { read(sources, open); });
  }

  void read(const std::vector<Source>& sources, bool open) {
    for (const Source& source : sources) {
      if (done_.count(source.name) != 0) continue;
      if (source.name != current_) {
        current_ = source.name;
        offset_ = start_of(source.name);
      }
      StatusOr<std::string> text = control_.logs().read(source.name, offset_, kMaxLogChunkBytes);
      if (!text.ok()) return end(to_grpc(text.status()));
      if (!text->empty()) return give_piece(source, *std::move(text));
      if (request_.follow() && !source.over) return later();
      done_.insert(source.name);
    }
    if (request_.follow() && open) return later();
    end(grpc::Status::OK);
  }

  uint64_t start_of(const std::string& name) {
    if (request_.tail_bytes() <= 0) return 0;
    const uint64_t size = control_.logs().size(name).value_or(0);
    return size - std::min<uint64_t>(size, static_cast<uint64_t>(request_.tail_bytes()));
  }

  void give_piece(const Source& source, std::string text) {
    std::deque<v1::ReadLogsResponse> messages(1);
    messages[0].set_stage(source.stage);
    messages[0].set_attempt(source.attempt);
    messages[0].set_offset(offset_);
    offset_ += text.size();
    messages[0].set_data(std::move(text));
    give(std::move(messages));
  }

  void later() {
    alarm_.Set(std::chrono::system_clock::now() + std::chrono::milliseconds(kFollowMs),
               [self = shared_from_this(), this](bool) { want_more(); });
  }

  control::Control& control_;
  const v1::ReadLogsRequest request_;
  std::set<std::string> done_;
  std::string current_;
  uint64_t offset_ = 0;
  grpc::Alarm alarm_;
};

}  // namespace

grpc::ServerWriteReactor<v1::ReadLogsResponse>* PipelineService::ReadLogs(Context*,
                                                                          const v1::ReadLogsRequest* request) {
  const auto stream = std::make_shared<LogsStream>(calls_.control(), *request);
  stream->hold();
  stream->begin();
  return stream.get();
}

}  // namespace gridquant::rpc
