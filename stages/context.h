// What a stage body is given. A stage is one function: Status run_<name>(StageContext&); it writes its files under
// task.artifact and sets `summary`; the caller (run_stage) digests the files and commits artifact.json.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/base/clock.h"
#include "engine/base/env.h"
#include "engine/comm/communicator.h"
#include "engine/device/cpu.h"
#include "engine/device/thread_pool.h"
#include "stages/task.h"

namespace gridquant::stages {

// Progress of a stage, for people and machines. Implementations: JSON lines on stdout (worker), a list (tests).
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  // `done` of `total` units ("block", "sequence", "tensor", "step"); monotone in `done`.
  virtual void progress(int64_t done, int64_t total, std::string_view unit, std::string_view message) = 0;
  virtual void note(std::string_view message) = 0;     // a line for the stage's log
  virtual void warning(std::string_view message) = 0;  // also in the report
};

struct StageContext {
  const Task& task;
  base::Env& env;
  base::Clock& clock;
  device::ThreadPool& pool;
  device::CpuInfo cpu;
  ProgressSink& progress;
  const std::atomic<bool>& cancelled;  // set by SIGTERM: return Cancelled at the next block
  // The ranks that run this stage together, each with a context of its own. They return the same error where it was
  // agreed on (shard.h); a rank that alone returns one must end the others (Communicator::end_all).
  comm::Communicator& comm = comm::self();
  nlohmann::json summary = nlohmann::json::object();

  std::string path(std::string_view name) const { return base::join_path(task.artifact, name); }
};

// Cancelled, on all ranks, if any of them was asked to stop; `where` says how far they came.
Status check_cancelled(const StageContext& context, std::string_view where);

// Runs task.uses and commits its artifact, on all ranks of context.comm; rank 0 has the summary. Unimplemented for an
// unknown stage.
Status run_stage(StageContext& context);

Status run_analyze(StageContext& context);
Status run_calibrate(StageContext& context);
Status run_plan(StageContext& context);
Status run_quantize(StageContext& context);
Status run_quantize_part(StageContext& context);
Status run_quantize_join(StageContext& context);  // a quantize stage that has parts among its inputs; one rank
Status run_validate(StageContext& context);

}  // namespace gridquant::stages
