// parallel_for over tasks that can fail: the error of the first failing task in task order, whatever the threads did.
// Running out of memory inside a task becomes a status instead of ending the process.
#pragma once

#include <functional>

#include "engine/base/status.h"
#include "engine/device/thread_pool.h"

namespace gridquant::stages {

Status parallel(device::ThreadPool& pool, int64_t count, const std::function<Status(int64_t task, int thread)>& fn);

// Calls fn; std::bad_alloc becomes ResourceExhausted "out of memory".
Status guard_memory(const std::function<Status()>& fn);

}  // namespace gridquant::stages
