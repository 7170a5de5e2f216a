// See submission.h.
#include "coordinator/control/submission.h"

#include <algorithm>

#include "coordinator/control/labels.h"
#include "coordinator/deliver/deliver.h"
#include "coordinator/spec/batch.h"
#include "coordinator/store/stage_key.h"

namespace gridquant::control {
namespace {

using nlohmann::json;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

Machine machine_of(const sched::Node& node) {
  const auto label = [&](const char* name) {
    const auto found = node.labels.find(name);
    return found == node.labels.end() ? std::string() : found->second;
  };
  return {label(kCpuKind), label(kCpuModel), split(label(kComputeTypes)), node.cores};
}

void check_batch(base::Env& env, const PipelineText& file, const spec::ParseOptions& options, Checked& checked) {
  spec::BatchResult result = spec::parse_batch(file.text, options);
  checked.diagnostics = std::move(result.diagnostics);
  if (!result.batch) return;
  const spec::Batch& batch = *result.batch;
  const StatusOr<std::string> text = base::read_file(env, batch.pipeline);
  if (!text.ok()) {
    checked.diagnostics.push_back(spec::unreadable_file(batch.pipeline, std::string(text.status().message())));
    return;
  }
  checked.name = batch.name;
  checked.max_parallel = batch.max_parallel;
  checked.fail_fast = batch.fail_fast;
  for (const spec::BatchMember& member : batch.members) {
    spec::ParseResult one = spec::expand_member(batch, member, *text);
    if (one.pipeline) {
      checked.pipelines.push_back(*std::move(one.pipeline));
      continue;
    }
    checked.diagnostics = std::move(one.diagnostics);
    checked.pipelines.clear();
    return;
  }
}

class Preparer {
 public:
  Preparer(base::Env& env, const Machine& machine, std::string version)
      : env_(env), machine_(machine), version_(std::move(version)) {}

  StatusOr<sched::RunSubmitted> run(const spec::Pipeline& pipeline, const std::string& file, const std::string& output,
                                    bool no_cache) {
    const store::KeyOptions options{.cpu_kind = machine_.cpu_kind, .resolve_compute = [this](const std::string& name) {
                                      return resolve_compute(name);
                                    }};
    GQ_ASSIGN_OR_RETURN(const auto keys, store::compute_stage_keys(env_, pipeline, options));
    sched::RunSubmitted submitted;
    submitted.pipeline = pipeline;
    submitted.use_cache = !no_cache;
    json environment = {{"gridquant", version_},
                        {"cpu", machine_.cpu_model},
                        {"cpu_kind", machine_.cpu_kind},
                        {"cores", std::to_string(machine_.cores)}};
    for (spec::StagePlan& stage : submitted.pipeline.stages) {
      const store::StageKey& key = keys.at(stage.name);
      submitted.keys[stage.name] = key.key;
      submitted.cache_notes[stage.name] = {{"components", key.components}};
      stage.node_selector[kCpuKind] = machine_.cpu_kind;
      if (key.components.contains("compute")) environment["compute"] = key.components["compute"];
    }
    submitted.options = {{"output", output}, {"file", file}, {"environment", std::move(environment)}};
    return submitted;
  }

 private:
  StatusOr<std::string> resolve_compute(const std::string& name) const {
    const std::vector<std::string>& types = machine_.compute_types;
    if (name == "auto" && !types.empty()) return types.front();
    if (std::find(types.begin(), types.end(), name) != types.end()) return name;
    return absl::FailedPreconditionError("compute: " + name + " cannot be had on the nodes' processors (" +
                                         machine_.cpu_kind + ")");
  }

  base::Env& env_;
  const Machine& machine_;
  std::string version_;
};

}  // namespace

Machine choose_machine(const sched::State& state, const Machine& own) {
  std::map<std::string, std::pair<int, const sched::Node*>> kinds;  // cores, one of them
  for (const auto& [name, node] : state.nodes) {
    const auto kind = node.labels.find(kCpuKind);
    if (!node.alive || kind == node.labels.end()) continue;
    auto& [cores, one] = kinds[kind->second];
    cores += node.cores;
    if (one == nullptr) one = &node;
  }
  if (kinds.empty()) return own;
  if (const auto same = kinds.find(own.cpu_kind); same != kinds.end()) return machine_of(*same->second.second);
  const auto most = std::max_element(kinds.begin(), kinds.end(),
                                     [](const auto& a, const auto& b) { return a.second.first < b.second.first; });
  return machine_of(*most->second.second);
}

Checked check(base::Env& env, const PipelineText& file) {
  Checked checked;
  const spec::ParseOptions options{.file = file.name, .params = file.params, .working_folder = file.working_folder};
  if (spec::is_batch(file.text)) {
    checked.kind = "Batch";
    check_batch(env, file, options, checked);
    return checked;
  }
  checked.kind = "Pipeline";
  spec::ParseResult result = spec::parse_pipeline(file.text, options);
  checked.diagnostics = std::move(result.diagnostics);
  if (!result.pipeline) return checked;
  checked.name = result.pipeline->name;
  checked.pipelines.push_back(*std::move(result.pipeline));
  return checked;
}

StatusOr<sched::Input> prepare(base::Env& env, const Submission& submission, const Checked& checked,
                               const Machine& machine, const std::string& version) {
  Preparer preparer(env, machine, version);
  const bool batch = checked.kind == "Batch";
  const std::string output = base::join_path(submission.file.working_folder,
                                             submission.output.empty() ? "out/" + checked.name : submission.output);
  sched::BatchSubmitted all;
  all.name = checked.name;
  for (const spec::Pipeline& pipeline : checked.pipelines) {
    const std::string folder = batch ? base::join_path(output, pipeline.name) : output;
    GQ_RETURN_IF_ERROR(deliver::probe_output(env, folder));
    StatusOr<sched::RunSubmitted> run = preparer.run(pipeline, submission.file.name, folder, submission.no_cache);
    GQ_RETURN_IF_ERROR(batch ? annotate(run.status(), "run " + pipeline.name) : run.status());
    all.runs.push_back(*std::move(run));
  }
  if (batch) {
    all.max_parallel = checked.max_parallel;
    all.fail_fast = checked.fail_fast;
    all.request = submission.request;
    all.request_content = content_of(submission);
    return all;
  }
  sched::RunSubmitted single = std::move(all.runs.front());
  single.request = submission.request;
  single.request_content = content_of(submission);
  return single;
}

std::string content_of(const Submission& submission) {
  const json content = {submission.file.name,   submission.file.text, submission.file.working_folder,
                        submission.file.params, submission.output,    submission.no_cache};
  return content.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace gridquant::control
