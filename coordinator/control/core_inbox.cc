// The core's side towards other threads: posting, waiting, ending.
#include <algorithm>

#include "absl/time/time.h"
#include "coordinator/control/core.h"

namespace gridquant::control {
namespace {

constexpr int64_t kLongestWaitMs = 1'000;

}  // namespace

Status Core::put(Item item, Room room) {
  absl::MutexLock lock(&mutex_);
  GQ_RETURN_IF_ERROR(ended_);
  const size_t most = room == Room::kAlways ? inbox_.max_size()
                      : room == Room::kFull ? options_.inbox
                                            : options_.inbox / 2;
  if (inbox_.size() >= most) {
    return absl::ResourceExhaustedError("the coordinator has too much to do just now: try again");
  }
  inbox_.push_back(std::move(item));
  return absl::OkStatus();
}

Status Core::post(sched::Input input, Done done) {
  return put(Request{std::move(input), std::move(done)});
}

Status Core::report(sched::NodeReport report, std::shared_ptr<NodeSink> sink, Done done) {
  return put(Request{std::move(report), std::move(done), std::move(sink)});
}

void Core::hang_up(const std::string& node, const NodeSink* sink) {
  put(HungUp{node, sink}, Room::kAlways).IgnoreError();
}

Status Core::look(std::function<void(const View&)> with) {
  return put(Look{std::move(with)});
}

Status Core::watch(uint64_t id, WatchCall call) {
  return put(Asked{id, std::move(call)});
}

void Core::drop_watch(uint64_t id) {
  put(Dropped{id}, Room::kAlways).IgnoreError();
}

void Core::note(Note note) {
  put(std::move(note), Room::kHalf).IgnoreError();
}

uint64_t Core::next_id() {
  absl::MutexLock lock(&mutex_);
  return ++last_id_;
}

void Core::wake() {
  absl::MutexLock lock(&mutex_);
  woken_ = true;
}

void Core::wait() {
  int64_t wait_ms = kLongestWaitMs;
  if (const auto due = scheduler_.next_timer_ms()) wait_ms = std::clamp<int64_t>(*due - now_ms(), 0, wait_ms);
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(this, &Core::has_items), absl::Milliseconds(wait_ms));
}

void Core::stop(const Status& why) {
  std::vector<Item> items;
  {
    absl::MutexLock lock(&mutex_);
    if (ended_.ok()) ended_ = absl::UnavailableError(std::string(why.message()));
    items.swap(inbox_);
  }
  refuse(items, why);
  watch_.fail_all(absl::UnavailableError(std::string(why.message())));
}

void Core::refuse(std::vector<Item>& items, const Status& why) {
  const Status end = absl::UnavailableError(std::string(why.message()));
  for (Item& item : items) {
    if (const auto* request = std::get_if<Request>(&item); request != nullptr && request->done) request->done(end);
    if (const auto* asked = std::get_if<Asked>(&item)) asked->call.done(end);
    if (auto* look = std::get_if<Look>(&item)) look->with({scheduler_, seams_.store, now_ms(), heard_ms_, end});
  }
}

}  // namespace gridquant::control
