// Request ids of garbage collections.
#include "coordinator/control/garbage.h"

#include <utility>

namespace gridquant::control {

void GarbageCalls::collect(const std::string& request, GarbageOptions options, GarbageDone done) {
  StatusOr<Garbage> known = absl::UnknownError("");
  bool begins = false;
  {
    absl::MutexLock lock(&mutex_);
    const auto at = calls_.find(request);
    if (at == calls_.end() && calls_.size() - ended_.size() >= kMostAtOnce) {
      known = absl::ResourceExhaustedError("too many garbage collections at once: try again");
    } else if (at == calls_.end()) {
      calls_[request] = {options.dry_run, options.min_age_ms, {done}, std::nullopt};
      begins = true;
    } else if (at->second.dry_run != options.dry_run || at->second.min_age_ms != options.min_age_ms) {
      known = absl::AlreadyExistsError("the request id " + request + " was used for another request");
    } else if (at->second.garbage) {
      known = *at->second.garbage;
    } else {
      at->second.waiting.push_back(done);
      return;
    }
  }
  if (!begins) return done(known);
  collect_garbage(core_, env_, executor_, std::move(options),
                  [this, request](const StatusOr<Garbage>& garbage) { end(request, garbage); });
}

void GarbageCalls::end(const std::string& request, const StatusOr<Garbage>& garbage) {
  std::vector<GarbageDone> waiting;
  {
    absl::MutexLock lock(&mutex_);
    Call& call = calls_.at(request);
    waiting.swap(call.waiting);
    if (garbage.ok()) {
      call.garbage = *garbage;
      ended_.push_back(request);
    } else {
      calls_.erase(request);  // it may be tried again
    }
    if (ended_.size() > kRemembered) {
      calls_.erase(ended_.front());
      ended_.pop_front();
    }
  }
  for (const GarbageDone& done : waiting) done(garbage);
}

}  // namespace gridquant::control
