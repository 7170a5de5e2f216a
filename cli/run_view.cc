// Runs from records.
#include "cli/run_view.h"

#include <algorithm>

#include "cli/command.h"
#include "coordinator/store/run_ids.h"
#include "coordinator/store/workdir.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

StatusOr<sched::Scheduler> replay_run(store::StateStore& store, const std::string& id) {
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> texts, store.records(id));
  std::vector<sched::Record> records;
  for (const std::string& text : texts) {
    GQ_ASSIGN_OR_RETURN(sched::Record record, sched::record_from_json(json::parse(text, nullptr, false)));
    records.push_back(std::move(record));
  }
  // Nothing is decided here, so no condition is asked for.
  return sched::Scheduler::replay(records, nullptr);
}

bool is_unfinished(const store::RunRow& row) {
  return row.state == "running" || row.state == "cancelling";
}

}  // namespace

StatusOr<RunView> load_run(store::StateStore& store, const std::string& workdir, const std::string& id) {
  GQ_ASSIGN_OR_RETURN(const std::vector<store::RunRow> rows, store.runs());
  if (rows.empty()) return absl::NotFoundError("no run has been recorded in the work folder " + workdir);
  const auto row = id.empty() ? std::prev(rows.end())
                              : std::find_if(rows.begin(), rows.end(), [&](const auto& each) { return each.id == id; });
  if (row == rows.end()) {
    return absl::NotFoundError("there is no run '" + id + "' in " + workdir + ": see gridquant list; the latest is " +
                               rows.back().id);
  }
  GQ_ASSIGN_OR_RETURN(const sched::Scheduler scheduler, replay_run(store, row->id));
  const sched::Run* run = scheduler.find_run(row->id);
  if (run == nullptr) return absl::DataLossError("run " + row->id + " has no records");
  RunView view{*run, name_of(run->state)};
  for (const sched::Stage& stage : run->stages) {
    view.artifacts[stage.plan.name] = store::artifact_folder(workdir, stage.plan.uses, stage.key);
  }
  if (!is_over(run->state) && !store::is_in_use(workdir)) view.state = "interrupted";
  return view;
}

StatusOr<RunAndStage> with_stage(RunView view, const std::string& stage) {
  if (!stage.empty() && view.run.index.count(stage) == 0) {
    std::string names;
    for (const sched::Stage& each : view.run.stages) names += (names.empty() ? "" : ", ") + each.plan.name;
    return absl::NotFoundError("run " + view.run.id + " has no stage '" + stage + "'; it has " + names);
  }
  return RunAndStage{std::move(view), stage};
}

StatusOr<RunAndStage> load_run_and_stage(const std::string& workdir, const std::vector<std::string>& words) {
  GQ_ASSIGN_OR_RETURN(const auto store, store::open_sqlite_store(workdir, store::Access::kReadOnly));
  const std::string first = words.empty() ? "" : words[0];
  StatusOr<RunView> view = load_run(*store, workdir, first);
  if (!view.ok() && words.size() == 1) {  // perhaps a stage of the latest run
    StatusOr<RunView> latest = load_run(*store, workdir, "");
    if (latest.ok() && latest->run.index.count(first) != 0) return RunAndStage{*std::move(latest), first};
  }
  if (!view.ok()) return view.status();
  return with_stage(*std::move(view), words.size() > 1 ? words[1] : "");
}

Status mark_interrupted(store::StateStore& store, int64_t now_ms) {
  GQ_ASSIGN_OR_RETURN(const std::vector<store::RunRow> rows, store.runs());
  for (store::RunRow row : rows) {
    if (!is_unfinished(row)) continue;
    store::Batch batch;
    StatusOr<sched::Scheduler> scheduler = replay_run(store, row.id);
    if (scheduler.ok()) {
      const sched::StepResult result =
          scheduler->step(sched::RunAbandoned{row.id, "gridquant was ended before the run was over"}, now_ms);
      for (const sched::Record& record : result.records) batch.records.push_back({row.id, to_json(record).dump()});
    }
    row.state = name_of(sched::RunState::kInterrupted);
    row.finished_ms = now_ms;
    batch.runs.push_back(row);
    GQ_RETURN_IF_ERROR(store.commit(batch));
  }
  return absl::OkStatus();
}

StatusOr<std::string> next_run_id(base::Env& env, const std::string& workdir, const std::string& pipeline) {
  GQ_ASSIGN_OR_RETURN(const std::set<std::string> used, store::used_run_ids(env, workdir));
  uint64_t last = 0;
  for (const std::string& id : used) {
    if (id.substr(0, id.rfind('-')) == pipeline) last = std::max(last, store::run_number(id));
  }
  return pipeline + "-" + std::to_string(last + 1);
}

}  // namespace gridquant::cli
