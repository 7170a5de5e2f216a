// Delivery of a run that has succeeded: what gridquant run does at its end, for a run that nodes carried out.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/control/executor.h"
#include "coordinator/sched/state.h"
#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::control {

// Into options["output"] of the run, with options["environment"] in the report. Doing it again does no harm.
Status deliver_run(base::Env& env, const sched::Run& run, const std::string& store);

// Two runs of one file often end at the same moment, and go to the same folder: one after the other. Runs for other
// folders do not wait. Thread-safe; `executor` does the work, and ends before this does.
class DeliveryLines {
 public:
  explicit DeliveryLines(Executor& executor) : executor_(executor) {}
  void add(const std::string& folder, std::function<void()> work);

 private:
  void carry_out(const std::string& folder);

  Executor& executor_;
  absl::Mutex mutex_;
  std::map<std::string, std::deque<std::function<void()>>> lines_ ABSL_GUARDED_BY(mutex_);  // the first one goes on
};

}  // namespace gridquant::control
