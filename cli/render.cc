// gridquant render: a pipeline in the terms of other schedulers. `kubernetes` prints a Job; `tasks` writes the task
// files of all stages, for gridquant-worker to be started by hand, by mpirun or by Slurm.
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/kubernetes_job.h"
#include "coordinator/spec/batch.h"
#include "coordinator/spec/scalars.h"
#include "coordinator/spec/spec.h"
#include "coordinator/store/stage_key.h"
#include "coordinator/store/workdir.h"
#include "engine/base/env.h"
#include "stages/task.h"

namespace gridquant::cli {
namespace {

struct RenderOptions {
  std::string file, memory, workdir, into;
  std::vector<std::string> params;
  JobOptions job;
  int threads = 0;
};

// The text of the file and what it means with `parse`; nothing, and a message printed, if it cannot be had.
struct Source {
  std::string text;
  spec::Pipeline pipeline;
};
std::optional<Source> read_source(Invocation& invocation, const RenderOptions& options, spec::ParseOptions parse) {
  const auto failed = [&](const Status& status) {
    fail(invocation, "text", status, kExitUsage);
    return std::nullopt;
  };
  const auto params = spec::parse_param_arguments(options.params);
  if (!params.ok()) return failed(params.status());
  StatusOr<std::string> text = base::read_file(base::posix_env(), absolute(invocation, options.file));
  if (!text.ok()) return failed(text.status());
  if (spec::is_batch(*text)) {
    return failed(absl::InvalidArgumentError(
        options.file +
        " is a batch: render its pipeline with the parameters of one run, or submit it to a coordinator"));
  }
  parse.params = *params;
  spec::ParseResult result = spec::parse_pipeline(*text, parse);
  if (!result.pipeline) {
    for (spec::Diagnostic& diagnostic : result.diagnostics) diagnostic.file = options.file;
    invocation.err << spec::render_text(result.diagnostics, *text, invocation.err_is_terminal);
    invocation.exit_code = kExitUsage;
    return std::nullopt;
  }
  return Source{*std::move(text), *std::move(result.pipeline)};
}

void render_kubernetes(const RenderOptions& options, Invocation& invocation) {
  JobOptions job = options.job;
  job.params = options.params;
  job.mount = std::filesystem::path(job.mount).lexically_normal().string();
  if (job.mount.size() < 2 || job.mount[0] != '/') {
    return fail(invocation, "text", absl::InvalidArgumentError("--mount must be an absolute path below /"), kExitUsage);
  }
  if (job.mount.back() == '/') job.mount.pop_back();
  if (!options.memory.empty()) {
    const std::optional<int64_t> bytes = spec::read_size(options.memory);
    if (!bytes || *bytes <= 0) {
      return fail(invocation, "text", absl::InvalidArgumentError("--memory must be a size such as 64Gi"), kExitUsage);
    }
    job.memory_bytes = *bytes;
  }
  const spec::ParseOptions parse{.file = kPodPipelineFile, .params = {}, .working_folder = job.mount};
  const std::optional<Source> source = read_source(invocation, options, parse);
  if (!source) return;
  const StatusOr<std::string> rendered = kubernetes_job(source->pipeline, source->text, job);
  if (!rendered.ok()) return fail(invocation, "text", annotate(rendered.status(), options.file), kExitUsage);
  invocation.out << *rendered << std::flush;
}

// One task file per stage, inputs before the stages that read them.
class TaskWriter {
 public:
  TaskWriter(const RenderOptions& options, Invocation& invocation)
      : options_(options),
        invocation_(invocation),
        workdir_(absolute(invocation, options.workdir)),
        into_(absolute(invocation, options.into)) {}

  Status write(const spec::Pipeline& pipeline) {
    for (const spec::StagePlan& stage : pipeline.stages) {
      if (!stage.condition.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("stage ", stage.name,
                                                       " has a condition (if:) that only a run "
                                                       "can decide: use gridquant run or submit"));
      }
    }
    const device::CpuInfo& cpu = invocation_.cpu;
    const store::KeyOptions key_options{
        .cpu_kind = cpu.kind(), .resolve_compute = [&cpu](const std::string& name) -> StatusOr<std::string> {
          GQ_ASSIGN_OR_RETURN(const device::Compute compute, device::resolve_compute(name, cpu));
          return std::string(device::name_of(compute));
        }};
    GQ_ASSIGN_OR_RETURN(keys_, store::compute_stage_keys(env_, pipeline, key_options));
    for (const spec::StagePlan& stage : pipeline.stages) plans_[stage.name] = &stage;
    GQ_RETURN_IF_ERROR(annotate(env_.make_folders(into_), "the folder for task files cannot be made (--into DIR)"));
    for (const spec::StagePlan& stage : pipeline.stages) GQ_RETURN_IF_ERROR(write_stage(pipeline, stage));
    return absl::OkStatus();
  }

 private:
  // The pipeline is acyclic, so the recursion ends.
  Status write_stage(const spec::Pipeline& pipeline, const spec::StagePlan& stage) {
    if (!written_.insert(stage.name).second) return absl::OkStatus();
    for (const std::string& need : stage.needs) GQ_RETURN_IF_ERROR(write_stage(pipeline, *plans_.at(need)));
    stages::Task task{.run = pipeline.name + "-tasks",
                      .stage = stage.name,
                      .uses = stage.uses,
                      .attempt = 1,
                      .key = keys_.at(stage.name).key,
                      .with = stage.with,
                      .inputs = {},
                      .artifact = artifact_of(stage)};
    task.threads = options_.threads > 0 ? options_.threads : stage.cores;
    for (const auto& [uses, name] : stage.inputs) task.inputs[uses] = artifact_of(*plans_.at(name));
    const std::string path = absl::StrFormat("%s/%03d-%s.json", into_, ++number_, stage.name);
    GQ_RETURN_IF_ERROR(stages::write_task(env_, path, task));
    invocation_.out << stage.gang_ranks << '\t' << task.artifact << '\t' << path << '\n';
    return absl::OkStatus();
  }

  std::string artifact_of(const spec::StagePlan& stage) const {
    return store::artifact_folder(workdir_, stage.uses, keys_.at(stage.name).key);
  }

  const RenderOptions& options_;
  Invocation& invocation_;
  const std::string workdir_, into_;
  base::Env& env_ = base::posix_env();
  std::map<std::string, store::StageKey> keys_;
  std::map<std::string, const spec::StagePlan*> plans_;
  std::set<std::string> written_;
  int number_ = 0;
};

void render_tasks(const RenderOptions& options, Invocation& invocation) {
  const spec::ParseOptions parse{.file = options.file, .params = {}, .working_folder = invocation.working_folder};
  const std::optional<Source> source = read_source(invocation, options, parse);
  if (!source) return;
  const Status written = TaskWriter(options, invocation).write(source->pipeline);
  if (!written.ok()) fail(invocation, "text", annotate(written, options.file), kExitUsage);
}

void add_pipeline_options(Command command, RenderOptions& options) {
  command.add_option("PIPELINE", options.file, "Pipeline file (YAML)").required();
  command.add_option("-p,--param", options.params, "key=value: a parameter of the pipeline; may be repeated")
      .one_each();
}

void add_render_kubernetes(Command render, Invocation& invocation) {
  const Command command = render.add_command("kubernetes", "Prints a Job that does gridquant run in one pod");
  const auto options = std::make_shared<RenderOptions>();
  JobOptions& job = options->job;
  job.image = "gridquant:" GRIDQUANT_VERSION;
  add_pipeline_options(command, *options);
  command.add_option("--name", job.name, "Name of the Job and its folders (default: the pipeline's)");
  command.add_option("--image", job.image, "Container image").shows_default();
  command.add_option("-n,--namespace", job.kubernetes_namespace, "Namespace (default: left to kubectl)");
  command.add_option("--queue", job.queue, "Queue of Kueue: the Job waits until it is admitted");
  command.add_option("--priority-class", job.priority_class, "WorkloadPriorityClass of Kueue");
  command.add_option("--pvc", job.claim, "PersistentVolumeClaim with models, data and results").shows_default();
  command.add_option("--mount", job.mount, "Where the pod sees the volume; relative paths in -p are below it")
      .shows_default();
  command.add_option("--cores", job.cores, "CPU cores (default: the most that a stage says)").in_range(1, 4096);
  command.add_option("--memory", options->memory, "Memory, such as 64Gi (default: the most that a stage says)");
  command.set_footer("Exit codes: 0 printed, 2 the pipeline is not valid or cannot be said as a Job.");
  command.on_given([options, &invocation] { render_kubernetes(*options, invocation); });
}

void add_render_tasks(Command render, Invocation& invocation) {
  const Command command = render.add_command(
      "tasks", "Writes a task file per stage for gridquant-worker; prints ranks, artifact folder and file, in order");
  const auto options = std::make_shared<RenderOptions>();
  add_pipeline_options(command, *options);
  add_workdir_option(command, options->workdir);
  command.add_option("--into", options->into, "Folder for the task files").required();
  command.add_option("--threads", options->threads, "Threads of a rank (default: resources.cores, else all)")
      .in_range(1, 4096);
  command.on_given([options, &invocation] { render_tasks(*options, invocation); });
}

}  // namespace

void add_render(Command app, Invocation& invocation) {
  const Command command = app.add_command("render", "Prints a pipeline for other schedulers");
  command.require_command();
  add_render_kubernetes(command, invocation);
  add_render_tasks(command, invocation);
}

}  // namespace gridquant::cli
