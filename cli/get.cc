// gridquant get: one run with its stages, their states, durations and attempts.
#include <algorithm>
#include <ostream>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/run_output.h"
#include "cli/run_view.h"
#include "coordinator/deliver/times.h"
#include "coordinator/store/workdir.h"
#include "engine/base/clock.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

json attempt_json(const sched::Attempt& attempt) {
  json out = {{"number", attempt.number}, {"started", deliver::show_utc(attempt.granted_ms)}, {"pid", attempt.pid}};
  out["outcome"] = attempt.outcome.empty() ? "running" : attempt.outcome;
  if (attempt.finished_ms > 0) {
    out["seconds"] = static_cast<double>(attempt.finished_ms - attempt.granted_ms) / 1000.0;
    out["exitCode"] = attempt.exit_code;
  }
  if (!attempt.message.empty()) out["message"] = attempt.message;
  if (!attempt.error_code.empty()) out["errorCode"] = attempt.error_code;
  return out;
}

json run_json(const RunView& view, const std::string& workdir, int64_t now_ms) {
  const sched::Run& run = view.run;
  json stages = json::array();
  for (const sched::Stage& stage : run.stages) {
    json attempts = json::array();
    for (const sched::Attempt& attempt : stage.attempts) attempts.push_back(attempt_json(attempt));
    json item = {{"name", stage.plan.name},
                 {"uses", stage.plan.uses},
                 {"needs", stage.plan.needs},
                 {"state", name_of(stage.state)},
                 {"cached", stage.cached},
                 {"seconds", deliver::stage_seconds(stage, view.state == "running" ? now_ms : 0)},
                 {"key", stage.key},
                 {"artifact", store::artifact_folder(workdir, stage.plan.uses, stage.key)},
                 {"attempts", std::move(attempts)},
                 {"summary", stage.summary}};
    if (!stage.reason.empty()) item["reason"] = stage.reason;
    stages.push_back(std::move(item));
  }
  json out = {{"run", run.id},
              {"pipeline", run.pipeline.name},
              {"state", view.state},
              {"params", run.pipeline.params},
              {"created", deliver::show_utc(run.created_ms)},
              {"stages", std::move(stages)}};
  if (run.finished_ms > 0) out["finished"] = deliver::show_utc(run.finished_ms);
  if (!run.reason.empty()) out["reason"] = run.reason;
  return out;
}

std::string stage_line(const sched::Stage& stage, const RunView& view, int64_t now_ms) {
  std::string text = name_of(stage.state);
  const bool on_its_way = !is_over(stage.state);
  if (on_its_way && view.state == "interrupted") text = "interrupted";
  if (stage.cached) text = "cached";
  const double seconds = deliver::stage_seconds(stage, view.state == "running" ? now_ms : 0);
  if (seconds > 0) text += "  " + show_seconds(seconds);
  if (stage.attempts.size() > 1) text += "  (" + std::to_string(stage.attempts.size()) + " attempts)";
  if (!stage.reason.empty() && stage.state != sched::StageState::kSucceeded) text += "  " + stage.reason;
  return text;
}

void print_tree(std::ostream& out, const RunView& view, int64_t now_ms) {
  const sched::Run& run = view.run;
  const int64_t end_ms = run.finished_ms > 0 ? run.finished_ms : view.state == "interrupted" ? 0 : now_ms;
  out << "run " << run.id << "  " << view.state;
  if (end_ms > 0) out << "  " << show_seconds(static_cast<double>(end_ms - run.created_ms) / 1000.0);
  out << "\nstarted " << deliver::show_utc(run.created_ms) << "\n";
  if (!run.reason.empty()) out << run.reason << "\n";
  size_t width = 0;
  for (const sched::Stage& stage : run.stages) width = std::max(width, stage.plan.name.size());
  for (size_t i = 0; i < run.stages.size(); ++i) {
    const sched::Stage& stage = run.stages[i];
    out << (i + 1 == run.stages.size() ? "└─ " : "├─ ") << stage.plan.name
        << std::string(width - stage.plan.name.size() + 2, ' ') << stage_line(stage, view, now_ms) << "\n";
  }
}

void get_run(Invocation& invocation, const std::string& id, const std::string& workdir_option,
             const std::string& format) {
  const std::string workdir = absolute(invocation, workdir_option);
  const auto store = store::open_sqlite_store(workdir, store::Access::kReadOnly);
  if (!store.ok()) return fail(invocation, format, store.status(), exit_code_of(store.status()));
  const auto view = load_run(**store, workdir, id);
  if (!view.ok()) return fail(invocation, format, view.status(), exit_code_of(view.status()));
  const int64_t now_ms = base::system_clock().wall_ms();
  if (format == "json") {
    invocation.out << run_json(*view, workdir, now_ms).dump(2) << "\n";
  } else {
    print_tree(invocation.out, *view, now_ms);
  }
}

}  // namespace

void add_get(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("get", "Shows a run: stages, states, durations, attempts");
  const auto id = std::make_shared<std::string>();
  const auto workdir = std::make_shared<std::string>();
  const auto format = std::make_shared<std::string>();
  command->add_option("RUN", *id, "Run (default: the latest)");
  add_workdir_option(*command, *workdir);
  add_format_option(*command, *format);
  command->callback([&invocation, id, workdir, format] { get_run(invocation, *id, *workdir, *format); });
}

}  // namespace gridquant::cli
