// Names of the states and the state's canonical JSON.
#include "coordinator/sched/state.h"

#include "coordinator/sched/pipeline_json.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

json attempt_to_json(const Attempt& attempt) {
  return {{"number", attempt.number},
          {"epoch", attempt.epoch},
          {"node", attempt.node},
          {"granted", attempt.granted_ms},
          {"started", attempt.started_ms},
          {"finished", attempt.finished_ms},
          {"pid", attempt.pid},
          {"stopping", attempt.stopping},
          {"outcome", attempt.outcome},
          {"exitCode", attempt.exit_code},
          {"errorCode", attempt.error_code},
          {"message", attempt.message}};
}

json stage_to_json(const Stage& stage) {
  json attempts = json::array();
  for (const Attempt& attempt : stage.attempts) attempts.push_back(attempt_to_json(attempt));
  return {{"name", stage.plan.name},
          {"key", stage.key},
          {"cacheNote", stage.cache_note},
          {"needs", stage.needs},
          {"inputs", stage.inputs},
          {"state", name_of(stage.state)},
          {"reason", stage.reason},
          {"cached", stage.cached},
          {"fresh", stage.fresh},
          {"infrastructureFailures", stage.infrastructure_failures},
          {"remakes", stage.remakes},
          {"since", stage.since_ms},
          {"notBefore", stage.not_before_ms},
          {"deadline", stage.deadline_ms},
          {"summary", stage.summary},
          {"attempts", attempts}};
}

json run_to_json(const Run& run) {
  json stages = json::array();
  spec::Pipeline pipeline = run.pipeline;
  for (const Stage& stage : run.stages) {
    stages.push_back(stage_to_json(stage));
    pipeline.stages.push_back(stage.plan);
  }
  return {{"pipeline", to_json(pipeline)}, {"options", run.options},     {"useCache", run.use_cache},
          {"state", name_of(run.state)},   {"reason", run.reason},       {"created", run.created_ms},
          {"finished", run.finished_ms},   {"stages", std::move(stages)}};
}

}  // namespace

const char* name_of(StageState state) {
  switch (state) {
    case StageState::kPending:
      return "pending";
    case StageState::kLooking:
      return "looking";
    case StageState::kReady:
      return "ready";
    case StageState::kRunning:
      return "running";
    case StageState::kWaiting:
      return "waiting";
    case StageState::kSucceeded:
      return "succeeded";
    case StageState::kFailed:
      return "failed";
    case StageState::kSkipped:
      return "skipped";
    case StageState::kCancelled:
      return "cancelled";
  }
  return "";
}

const char* name_of(RunState state) {
  switch (state) {
    case RunState::kRunning:
      return "running";
    case RunState::kCancelling:
      return "cancelling";
    case RunState::kSucceeded:
      return "succeeded";
    case RunState::kFailed:
      return "failed";
    case RunState::kCancelled:
      return "cancelled";
    case RunState::kInterrupted:
      return "interrupted";
  }
  return "";
}

bool is_over(StageState state) {
  return state == StageState::kSucceeded || state == StageState::kFailed || state == StageState::kSkipped ||
         state == StageState::kCancelled;
}

bool is_over(RunState state) {
  return state != RunState::kRunning && state != RunState::kCancelling;
}

json to_json(const State& state) {
  json runs = json::object();
  for (const auto& [id, run] : state.runs) runs[id] = run_to_json(run);
  json nodes = json::object();
  for (const auto& [name, node] : state.nodes) {
    nodes[name] = {{"cores", node.cores}, {"memoryBytes", node.memory_bytes}, {"alive", node.alive}};
  }
  return {{"lastEpoch", state.last_epoch}, {"runs", std::move(runs)}, {"nodes", std::move(nodes)}};
}

}  // namespace gridquant::sched
