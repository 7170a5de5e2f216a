// WatchRun: pages of events, one after the other, as fast as the caller takes them.
#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/pipeline_service.h"
#include "coordinator/rpc/writer.h"

namespace gridquant::rpc {
namespace {

class WatchStream final : public Writer<v1::WatchRunResponse> {
 public:
  WatchStream(control::Core& core, const v1::WatchRunRequest& request)
      : core_(core),
        id_(core.next_id()),
        run_(request.run()),
        wait_(!request.no_follow()),
        after_(request.after_sequence()) {}

  void begin() { want_more(); }

 private:
  void want_more() override {
    if (is_cancelled()) return;
    control::WatchCall call{.run = run_, .after = after_, .after_notes = after_notes_, .wait = wait_, .done = {}};
    call.done = [self = shared_from_this(), this](const StatusOr<control::WatchPage>& page) { on_page(page); };
    const Status asked = core_.watch(id_, std::move(call));
    if (!asked.ok()) end(to_grpc(asked));
  }
  void cancelled() override { core_.drop_watch(id_); }

  // Only one page is asked for at a time, so nothing else touches after_ meanwhile.
  void on_page(const StatusOr<control::WatchPage>& page) {
    if (!page.ok()) return end(to_grpc(page.status()));
    if (page->over) return end(grpc::Status::OK);
    std::deque<v1::WatchRunResponse> messages;
    for (const sched::Record& record : page->records) {
      to_proto(record, *messages.emplace_back().mutable_event());
      after_ = record.seq;
    }
    for (const control::Note& note : page->notes) to_proto(note, *messages.emplace_back().mutable_progress());
    after_notes_ = page->notes_version;
    give(std::move(messages));
  }

  control::Core& core_;
  const uint64_t id_;
  const std::string run_;
  const bool wait_;
  uint64_t after_;
  uint64_t after_notes_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<v1::WatchRunResponse>* PipelineService::WatchRun(Context*,
                                                                          const v1::WatchRunRequest* request) {
  const auto stream = std::make_shared<WatchStream>(calls_.core(), *request);
  stream->hold();
  stream->begin();
  return stream.get();
}

}  // namespace gridquant::rpc
