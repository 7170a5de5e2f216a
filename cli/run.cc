// gridquant run: carries a pipeline file out on this machine.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/driver.h"
#include "cli/interrupts.h"
#include "cli/run_view.h"
#include "coordinator/deliver/deliver.h"
#include "coordinator/spec/batch.h"
#include "coordinator/store/workdir.h"
#include "engine/device/cpu.h"
#include "engine/eval/report.h"
#include "node/launch/mpirun.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

constexpr int64_t kLockWaitMs = 3'000;  // for workers of a killed run to be gone

struct RunOptions {
  std::string file, output, workdir, worker;
  std::string format = "text";
  std::vector<std::string> params;
  int threads = 0;
  int64_t grace_ms = 10'000;
  bool no_cache = false;
};

// The whole of `gridquant run`, step by step; each step that fails ends it with a message and an exit code.
class RunCommand {
 public:
  RunCommand(Invocation& invocation, RunOptions options) : invocation_(invocation), options_(std::move(options)) {}

  void execute(spec::Pipeline pipeline) {
    pipeline_ = std::move(pipeline);
    const Status prepared = prepare();
    if (!prepared.ok()) return fail(invocation_, options_.format, prepared, kExitUsage);
    const Status carried_out = carry_out();
    if (!carried_out.ok()) fail(invocation_, options_.format, carried_out, kExitRunFailed);
  }

 private:
  // Everything that can be found wrong before anything runs.
  Status prepare() {
    if (options_.output.empty()) options_.output = "out/" + pipeline_.name;
    output_folder_ = absolute(invocation_, options_.output);
    workdir_ = absolute(invocation_, options_.workdir);
    worker_ =
        options_.worker.empty() ? invocation_.own_folder + "/gridquant-worker" : absolute(invocation_, options_.worker);
    if (::access(worker_.c_str(), X_OK) != 0) return absl::NotFoundError("the worker program is missing: " + worker_);
    GQ_RETURN_IF_ERROR(annotate(env_.make_folders(workdir_), "the work folder cannot be made (--workdir DIR)"));
    GQ_RETURN_IF_ERROR(deliver::probe_output(env_, output_folder_));
    GQ_ASSIGN_OR_RETURN(store::WorkdirLock lock, store::WorkdirLock::acquire(workdir_, kLockWaitMs));
    lock_ = std::make_unique<store::WorkdirLock>(std::move(lock));
    GQ_ASSIGN_OR_RETURN(store_, store::open_sqlite_store(workdir_, store::Access::kReadWrite));
    GQ_RETURN_IF_ERROR(mark_interrupted(*store_, base::system_clock().wall_ms()));
    const store::KeyOptions key_options{
        .cpu_kind = cpu_.kind(), .resolve_compute = [this](const std::string& name) -> StatusOr<std::string> {
          GQ_ASSIGN_OR_RETURN(const device::Compute compute, device::resolve_compute(name, cpu_));
          return std::string(device::name_of(compute));
        }};
    GQ_ASSIGN_OR_RETURN(keys_, store::compute_stage_keys(env_, pipeline_, key_options));
    return absl::OkStatus();
  }

  StatusOr<sched::RunSubmitted> submission() {
    sched::RunSubmitted submitted;
    GQ_ASSIGN_OR_RETURN(submitted.run, next_run_id(env_, workdir_, pipeline_.name));
    submitted.pipeline = pipeline_;
    submitted.use_cache = !options_.no_cache;
    submitted.options = {{"output", options_.output}, {"file", options_.file}, {"threads", options_.threads}};
    for (const spec::StagePlan& stage : pipeline_.stages) {
      const store::StageKey& key = keys_.at(stage.name);
      submitted.keys[stage.name] = key.key;
      GQ_ASSIGN_OR_RETURN(const auto latest, store_->latest_artifact(stage.name, stage.uses));
      json note = {{"components", key.components}};
      if (latest) {
        note["comparedWith"] = latest->run;
        note["differs"] = store::differences(latest->components, key.components);
      }
      submitted.cache_notes[stage.name] = std::move(note);
    }
    return submitted;
  }

  std::unique_ptr<RunOutput> make_output() const {
    if (options_.format == "json") return make_json_output(invocation_.out);
    return invocation_.err_is_terminal ? make_bar_output(invocation_.err) : make_plain_output(invocation_.err);
  }

  Status carry_out() {
    GQ_ASSIGN_OR_RETURN(const sched::RunSubmitted submitted, submission());
    const std::unique_ptr<RunOutput> output = make_output();
    const std::unique_ptr<node::Launcher> launcher = node::make_posix_launcher();
    SignalInterrupts interrupts;
    DriverOptions options;
    options.workdir = workdir_;
    options.worker = worker_;
    GQ_ASSIGN_OR_RETURN(options.mpirun, mpirun_for(submitted.pipeline));
    options.threads = options_.threads;
    options.cores = cpu_.cores;
    options.memory_bytes = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
    options.keep_fds = {lock_->fd()};
    options.stop_grace_ms = options_.grace_ms;
    RunDriver driver({env_, base::system_clock(), *store_, *launcher, *output, interrupts}, options);
    GQ_RETURN_IF_ERROR(driver.drive(submitted, keys_));
    switch (driver.run().state) {
      case sched::RunState::kSucceeded:
        return deliver(driver, *output);
      case sched::RunState::kCancelled:
        invocation_.exit_code = kExitCancelled;
        break;
      default:
        invocation_.exit_code = kExitRunFailed;
        advise(driver.run());
    }
    return absl::OkStatus();
  }

  // Its path where a stage wants several ranks.
  StatusOr<std::string> mpirun_for(const spec::Pipeline& pipeline) const {
    const std::string mpirun = node::find_program("mpirun", invocation_.search_path);
    for (const spec::StagePlan& stage : pipeline.stages) {
      if (stage.gang_ranks == 1 || !mpirun.empty()) continue;
      return absl::FailedPreconditionError(absl::StrCat("stage '", stage.name, "' asks for ", stage.gang_ranks,
                                                        " ranks, which mpirun starts, and there is none on PATH; "
                                                        "install openmpi-bin, or ask for one rank"));
    }
    return mpirun;
  }

  Status deliver(const RunDriver& driver, RunOutput& output) {
    const deliver::Delivery delivery{.run = driver.run(),
                                     .output = options_.output,
                                     .artifact_of = [&](const std::string& stage) { return driver.artifact_of(stage); },
                                     .environment = environment(),
                                     .warnings = driver.warnings()};
    deliver::Delivery absolute_delivery = delivery;
    absolute_delivery.output = output_folder_;
    GQ_RETURN_IF_ERROR(deliver::deliver_checkpoints(env_, absolute_delivery));
    const json report = deliver::make_report(delivery);
    GQ_RETURN_IF_ERROR(deliver::deliver_report(env_, output_folder_, report));
    output.delivered(report, output_folder_);
    if (options_.format != "json") {
      invocation_.out << eval::render_summary(report, invocation_.out_is_terminal) << std::flush;
    }
    return absl::OkStatus();
  }

  json environment() const {
    json environment = {{"gridquant", GRIDQUANT_VERSION},
                        {"cpu", cpu_.model},
                        {"cpu_kind", cpu_.kind()},
                        {"cores", std::to_string(cpu_.cores)}};
    for (const auto& [stage, key] : keys_) {
      if (key.components.contains("compute")) environment["compute"] = key.components["compute"];
    }
    return environment;
  }

  void advise(const sched::Run& run) {
    if (options_.format == "json") return;
    invocation_.err << "More: gridquant explain " << run.id << ", gridquant logs " << run.id
                    << (options_.workdir == ".gridquant" ? "" : " (with --workdir " + options_.workdir + ")") << "\n";
  }

  Invocation& invocation_;
  RunOptions options_;
  base::Env& env_ = base::posix_env();
  const device::CpuInfo cpu_ = invocation_.cpu;
  spec::Pipeline pipeline_;
  std::string output_folder_, workdir_, worker_;
  std::unique_ptr<store::WorkdirLock> lock_;
  std::unique_ptr<store::StateStore> store_;
  std::map<std::string, store::StageKey> keys_;
};

// From the file to the run that it asks for, or to the runs of a batch, one after the other.
class RunFile {
 public:
  RunFile(Invocation& invocation, RunOptions options) : invocation_(invocation), options_(std::move(options)) {}

  void execute() {
    const auto params = spec::parse_param_arguments(options_.params);
    if (!params.ok()) return fail(invocation_, options_.format, params.status(), kExitUsage);
    const StatusOr<std::string> text = read(absolute(invocation_, options_.file));
    if (!text.ok()) return fail(invocation_, options_.format, text.status(), kExitUsage);
    const spec::ParseOptions parse{
        .file = options_.file, .params = *params, .working_folder = invocation_.working_folder, .one_cpu_node = true};
    if (spec::is_batch(*text)) return execute_batch(*text, parse);
    spec::ParseResult result = spec::parse_pipeline(*text, parse);
    if (!result.pipeline) return refuse(result.diagnostics, *text);
    RunCommand(invocation_, options_).execute(*std::move(result.pipeline));
  }

 private:
  static StatusOr<std::string> read(const std::string& path) { return base::read_file(base::posix_env(), path); }

  void refuse(const std::vector<spec::Diagnostic>& diagnostics, const std::string& text) {
    if (options_.format == "json") {
      invocation_.out << spec::render_json(diagnostics);
    } else {
      invocation_.err << spec::render_text(diagnostics, text, invocation_.err_is_terminal);
    }
    invocation_.exit_code = kExitUsage;
  }

  // All members are checked before the first one runs.
  void execute_batch(const std::string& text, const spec::ParseOptions& parse) {
    if (!parse.params.empty()) {
      return fail(invocation_, options_.format, absl::InvalidArgumentError(spec::kNoParamsForBatch), kExitUsage);
    }
    const spec::BatchResult result = spec::parse_batch(text, parse);
    if (!result.batch) return refuse(result.diagnostics, text);
    const spec::Batch& batch = *result.batch;
    const StatusOr<std::string> pipeline = read(batch.pipeline);
    if (!pipeline.ok()) {
      return refuse({spec::unreadable_file(batch.pipeline, std::string(pipeline.status().message()))}, "");
    }
    std::vector<spec::Pipeline> members;
    for (const spec::BatchMember& member : batch.members) {
      spec::ParseResult one = spec::expand_member(batch, member, *pipeline, /*one_cpu_node=*/true);
      if (!one.pipeline) return refuse(one.diagnostics, *pipeline);
      members.push_back(*std::move(one.pipeline));
    }
    const std::string output = options_.output.empty() ? "out/" + batch.name : options_.output;
    int worst = kExitOk;
    for (size_t i = 0; i < members.size(); ++i) {
      RunOptions options = options_;
      options.output = base::join_path(output, members[i].name);
      invocation_.exit_code = kExitOk;
      RunCommand(invocation_, std::move(options)).execute(std::move(members[i]));
      worst = std::max(worst, invocation_.exit_code);
      const size_t left = members.size() - i - 1;
      const bool stop = invocation_.exit_code == kExitCancelled || (worst != kExitOk && batch.fail_fast);
      if (!stop || left == 0) continue;
      if (options_.format != "json") invocation_.err << left << (left == 1 ? " run" : " runs") << " not started\n";
      break;
    }
    invocation_.exit_code = worst;
  }

  Invocation& invocation_;
  const RunOptions options_;
};

}  // namespace

void add_run(Command app, Invocation& invocation) {
  const Command command = app.add_command("run", "Runs a pipeline file on this machine");
  const auto options = std::make_shared<RunOptions>();
  command.add_option("FILE", options->file, "Pipeline file (YAML); of a batch, the runs go one after the other")
      .required();
  command.add_option("-p,--param", options->params, "key=value: a parameter of the pipeline; may be repeated")
      .one_each();
  command
      .add_option("--output", options->output,
                  "Folder for checkpoint/, report.json and report.html (default out/<pipeline>); the words json "
                  "and text mean --format")
      .last_wins();
  command.add_option("-o,--format", options->format, "text, or json: one event per line on standard output")
      .one_of({"text", "json"})
      .shows_default();
  add_workdir_option(command, options->workdir);
  command.add_option("--threads", options->threads, "Threads of a stage (default: all cores)").in_range(1, 4096);
  command.add_flag("--no-cache", options->no_cache, "Make everything again, also what is stored already");
  command.add_option("--worker", options->worker, "").hidden();      // for tests
  command.add_option("--grace-ms", options->grace_ms, "").hidden();  // for tests
  command.on_given([&invocation, options] {
    RunOptions chosen = *options;
    if (chosen.output == "json" || chosen.output == "text") {
      chosen.format = chosen.output;
      chosen.output.clear();
    }
    RunFile(invocation, std::move(chosen)).execute();
  });
}

}  // namespace gridquant::cli
