// Pipeline <-> JSON. Field by field, so that a field that is missing in an old record keeps its default.
#include "coordinator/sched/pipeline_json.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

json stage_to_json(const spec::StagePlan& stage) {
  return {{"name", stage.name},
          {"uses", stage.uses},
          {"version", stage.version},
          {"needs", stage.needs},
          {"inputs", stage.inputs},
          {"with", stage.with},
          {"if", stage.condition},
          {"matrix", stage.matrix},
          {"retry",
           {{"maxAttempts", stage.retry.max_attempts},
            {"initialMs", stage.retry.initial_backoff_ms},
            {"factor", stage.retry.factor},
            {"maxMs", stage.retry.max_backoff_ms}}},
          {"timeoutMs", stage.timeout_ms},
          {"deadlineMs", stage.deadline_ms},
          {"cores", stage.cores},
          {"memoryBytes", stage.memory_bytes},
          {"ranks", stage.gang_ranks},
          {"minRanks", stage.gang_min_ranks},
          {"gpusPerRank", stage.gpus_per_rank},
          {"nodeSelector", stage.node_selector}};
}

spec::StagePlan stage_from_json(const json& from) {
  spec::StagePlan stage;
  stage.name = from.at("name").get<std::string>();
  stage.uses = from.at("uses").get<std::string>();
  stage.version = from.value("version", 1);
  stage.needs = from.value("needs", std::vector<std::string>());
  stage.inputs = from.value("inputs", std::map<std::string, std::string>());
  stage.with = from.value("with", json::object());
  stage.condition = from.value("if", "");
  stage.matrix = from.value("matrix", std::map<std::string, std::string>());
  const json retry = from.value("retry", json::object());
  const spec::RetryPolicy defaults;
  stage.retry.max_attempts = retry.value("maxAttempts", defaults.max_attempts);
  stage.retry.initial_backoff_ms = retry.value("initialMs", defaults.initial_backoff_ms);
  stage.retry.factor = retry.value("factor", defaults.factor);
  stage.retry.max_backoff_ms = retry.value("maxMs", defaults.max_backoff_ms);
  stage.timeout_ms = from.value("timeoutMs", int64_t{0});
  stage.deadline_ms = from.value("deadlineMs", int64_t{0});
  stage.cores = from.value("cores", 0);
  stage.memory_bytes = from.value("memoryBytes", int64_t{0});
  stage.gang_ranks = from.value("ranks", 1);
  stage.gang_min_ranks = from.value("minRanks", stage.gang_ranks);
  stage.gpus_per_rank = from.value("gpusPerRank", 0);
  stage.node_selector = from.value("nodeSelector", std::map<std::string, std::string>());
  return stage;
}

}  // namespace

json to_json(const spec::Pipeline& pipeline) {
  json stages = json::array();
  for (const spec::StagePlan& stage : pipeline.stages) stages.push_back(stage_to_json(stage));
  return {{"name", pipeline.name},      {"labels", pipeline.labels},     {"params", pipeline.params},
          {"queue", pipeline.queue},    {"priority", pipeline.priority}, {"deadlineMs", pipeline.deadline_ms},
          {"stages", std::move(stages)}};
}

StatusOr<spec::Pipeline> pipeline_from_json(const json& from) {
  try {
    spec::Pipeline pipeline;
    pipeline.name = from.at("name").get<std::string>();
    pipeline.labels = from.value("labels", std::map<std::string, std::string>());
    pipeline.params = from.value("params", json::object());
    pipeline.queue = from.value("queue", pipeline.queue);
    pipeline.priority = from.value("priority", 0);
    pipeline.deadline_ms = from.value("deadlineMs", int64_t{0});
    for (const json& stage : from.at("stages")) pipeline.stages.push_back(stage_from_json(stage));
    return pipeline;
  } catch (const json::exception& error) {
    return absl::DataLossError(std::string("a recorded pipeline cannot be read: ") + error.what());
  }
}

}  // namespace gridquant::sched
