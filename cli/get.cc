// gridquant get: one run with its stages, their states, durations and attempts; of a coordinator also a batch.
#include <algorithm>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "cli/remote.h"
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
  if (!attempt.node.empty()) out["node"] = attempt.node;
  if (attempt.ranks > 1) out["ranks"] = attempt.ranks;
  out["outcome"] = attempt.outcome.empty() ? "running" : attempt.outcome;
  if (attempt.finished_ms > 0) {
    out["seconds"] = static_cast<double>(attempt.finished_ms - attempt.granted_ms) / 1000.0;
    out["exitCode"] = attempt.exit_code;
  }
  if (!attempt.message.empty()) out["message"] = attempt.message;
  if (!attempt.error_code.empty()) out["errorCode"] = attempt.error_code;
  return out;
}

json run_json(const RunView& view, int64_t now_ms) {
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
                 {"artifact", view.artifacts.at(stage.plan.name)},
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
  out.update(view.more);
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

// Where it runs or ran, and what of.
std::string wide_line(const sched::Stage& stage) {
  std::string text = "  key " + stage.key.substr(0, 16);
  if (stage.attempts.empty()) return text;
  const sched::Attempt& last = stage.attempts.back();
  text += "  node " + last.node;
  if (last.ranks > 1) text += " and others, " + std::to_string(last.ranks) + " ranks";
  return text + (last.pid > 0 ? "  pid " + std::to_string(last.pid) : "");
}

void print_tree(std::ostream& out, const RunView& view, int64_t now_ms, bool wide) {
  const sched::Run& run = view.run;
  const int64_t end_ms = run.finished_ms > 0 ? run.finished_ms : view.state == "interrupted" ? 0 : now_ms;
  out << "run " << run.id << "  " << view.state;
  if (end_ms > 0) out << "  " << show_seconds(static_cast<double>(end_ms - run.created_ms) / 1000.0);
  out << "\nstarted " << deliver::show_utc(run.created_ms) << "\n";
  if (!run.reason.empty()) out << run.reason << "\n";
  for (const std::string& note : view.notes) out << note << "\n";
  size_t width = 0;
  for (const sched::Stage& stage : run.stages) width = std::max(width, stage.plan.name.size());
  for (size_t i = 0; i < run.stages.size(); ++i) {
    const sched::Stage& stage = run.stages[i];
    out << (i + 1 == run.stages.size() ? "└─ " : "├─ ") << stage.plan.name
        << std::string(width - stage.plan.name.size() + 2, ' ') << stage_line(stage, view, now_ms)
        << (wide ? wide_line(stage) : "") << "\n";
  }
}

StatusOr<RunView> local_run(const std::string& workdir, const std::string& id) {
  GQ_ASSIGN_OR_RETURN(const auto store, store::open_sqlite_store(workdir, store::Access::kReadOnly));
  return load_run(*store, workdir, id);
}

void print_batch(Invocation& invocation, const v1::GetBatchResponse& batch, const std::string& format) {
  json runs = json::array();
  for (const v1::Run& run : batch.runs()) {
    runs.push_back({{"run", run.id()},
                    {"state", word_of(run.state())},
                    {"stagesOver", run.stages_over()},
                    {"stagesTotal", run.stages_total()},
                    {"reason", run.reason()}});
  }
  const json out = {{"batch", batch.id()},
                    {"name", batch.name()},
                    {"maxParallel", batch.max_parallel()},
                    {"failFast", batch.fail_fast()},
                    {"runs", runs}};
  if (print_data(invocation, format, out)) return;
  invocation.out << "batch " << batch.id() << "  " << runs.size() << (runs.size() == 1 ? " run" : " runs");
  if (batch.max_parallel() > 0) invocation.out << ", " << batch.max_parallel() << " at a time";
  invocation.out << (batch.fail_fast() ? ", the first failure cancels the others\n" : "\n");
  std::vector<std::vector<std::string>> rows;
  for (const json& run : runs) {
    rows.push_back({run["run"].get<std::string>(), run["state"].get<std::string>(),
                    run["stagesOver"].dump() + "/" + run["stagesTotal"].dump() + " stages",
                    run["reason"].get<std::string>()});
  }
  print_table(invocation, rows);
}

void get_run(Invocation& invocation, const std::string& id, const Place& place, const std::string& format) {
  StatusOr<RunView> view = RunView();
  if (place.remote()) {
    const auto client = connect(place);
    view = load_run(*client, id);
    if (view.status().code() == absl::StatusCode::kNotFound && !id.empty()) {
      v1::GetBatchRequest request;
      request.set_batch(id);
      const StatusOr<v1::GetBatchResponse> batch = client->call(request);
      if (batch.ok()) return print_batch(invocation, *batch, format);
    }
  } else {
    view = local_run(absolute(invocation, place.workdir), id);
  }
  if (!view.ok()) return fail(invocation, format, view.status(), exit_code_of(view.status()));
  const int64_t now_ms = base::system_clock().wall_ms();
  if (print_data(invocation, format, run_json(*view, now_ms))) return;
  print_tree(invocation.out, *view, now_ms, format == "wide");
}

}  // namespace

void add_get(Command app, Invocation& invocation) {
  const Command command = app.add_command("get", "Shows a run: stages, states, durations, attempts; or a batch");
  const auto id = std::make_shared<std::string>();
  const auto format = std::make_shared<std::string>();
  command.add_option("RUN", *id, "Run (default: the latest), or a batch of a coordinator");
  const auto place = add_place_options(command, invocation);
  add_view_format_option(command, *format);
  command.on_given([&invocation, id, place, format] { get_run(invocation, *id, *place, *format); });
}

}  // namespace gridquant::cli
