// Delivery of checkpoints and reports.
#include "coordinator/deliver/deliver.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "coordinator/deliver/times.h"
#include "engine/base/secret.h"
#include "engine/eval/chart_js.h"
#include "engine/eval/report.h"
#include "stages/task.h"

namespace gridquant::deliver {
namespace {

using nlohmann::json;

constexpr uint64_t kLeastFreeBytes = 1 << 20;
constexpr const char* kCheckpoint = "checkpoint/";
constexpr const char *kPartial = ".checkpoint.partial", *kOld = ".checkpoint.old";
constexpr int kSwaps = 10;

std::vector<const sched::Stage*> quantize_stages(const sched::Run& run) {
  std::vector<const sched::Stage*> stages;
  for (const sched::Stage& stage : run.stages) {
    if (stage.plan.uses == "quantize" && stage.state == sched::StageState::kSucceeded) stages.push_back(&stage);
  }
  return stages;
}

// Links all files of the artifact that lie under checkpoint/ into `to`.
Status link_checkpoint(base::Env& env, const std::string& artifact_folder, const std::string& to) {
  GQ_ASSIGN_OR_RETURN(const stages::Artifact artifact, stages::read_artifact(env, artifact_folder));
  GQ_RETURN_IF_ERROR(env.make_folders(to));
  std::set<std::string> folders = {to};
  for (const stages::ArtifactFile& file : artifact.files) {
    if (file.path.rfind(kCheckpoint, 0) != 0) continue;
    const std::string target = base::join_path(to, file.path.substr(std::string(kCheckpoint).size()));
    if (folders.insert(base::folder_of(target)).second) GQ_RETURN_IF_ERROR(env.make_folders(base::folder_of(target)));
    GQ_RETURN_IF_ERROR(env.link_or_copy(base::join_path(artifact_folder, file.path), target));
  }
  for (const std::string& folder : folders) GQ_RETURN_IF_ERROR(env.sync_folder(folder));
  return absl::OkStatus();
}

// What a delivery that was killed left behind. Under another name first: if one goes on there in another process after
// all, it misses its folder, and never puts half of it in place.
Status remove_leftovers(base::Env& env, const std::string& folder, const std::string& own) {
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.list(folder));
  for (const std::string& name : names) {
    if (!name.starts_with(kPartial) && !name.starts_with(kOld)) continue;
    const std::string away = base::join_path(folder, absl::StrCat(kOld, "-", own, name));
    const Status renamed = env.rename(base::join_path(folder, name), away);
    if (absl::IsNotFound(renamed)) continue;  // another one was here first
    GQ_RETURN_IF_ERROR(renamed);
    GQ_RETURN_IF_ERROR(env.remove_tree(away));
  }
  return absl::OkStatus();
}

// In place of what is there. Another process that does the same may come in between.
Status put_in_place(base::Env& env, const std::string& partial, const std::string& target, const std::string& old) {
  Status put;
  for (int i = 0; i < kSwaps; ++i) {
    const std::string aside = absl::StrCat(old, ".", i);
    const Status moved = env.rename(target, aside);
    if (!moved.ok() && !absl::IsNotFound(moved)) return moved;
    put = env.rename(partial, target);
    if (put.ok()) {
      GQ_RETURN_IF_ERROR(env.sync_folder(base::folder_of(target)));
      return env.remove_tree(aside);
    }
    // Nothing of ours is there: what was there comes back, unless a newer one has taken its place.
    if (moved.ok() && !env.rename(aside, target).ok()) GQ_RETURN_IF_ERROR(env.remove_tree(aside));
    if (!absl::IsFailedPrecondition(put)) return put;
  }
  return put;
}

Status deliver_checkpoint(base::Env& env, const std::string& artifact_folder, const std::string& folder) {
  GQ_ASSIGN_OR_RETURN(const std::string digits, base::make_secret());
  const std::string own = digits.substr(0, 16);
  const std::string partial = base::join_path(folder, absl::StrCat(kPartial, "-", own));
  const std::string old = base::join_path(folder, absl::StrCat(kOld, "-", own));
  GQ_RETURN_IF_ERROR(remove_leftovers(env, folder, own));
  Status status = link_checkpoint(env, artifact_folder, partial);
  if (status.ok()) status = put_in_place(env, partial, base::join_path(folder, "checkpoint"), old);
  if (!status.ok()) env.remove_tree(partial).IgnoreError();  // a full disk gets its space back
  return status;
}

json stage_rows(const sched::Run& run) {
  json rows = json::array();
  for (const sched::Stage& stage : run.stages) {
    rows.push_back({{"name", stage.plan.name},
                    {"uses", stage.plan.uses},
                    {"state", name_of(stage.state)},
                    {"seconds", stage_seconds(stage)},
                    {"attempts", stage.attempts.size()},
                    {"cached", stage.cached}});
  }
  return rows;
}

}  // namespace

Status probe_output(base::Env& env, const std::string& output) {
  const std::string advice = "the output folder cannot be written (choose another with --output DIR)";
  GQ_RETURN_IF_ERROR(annotate(env.make_folders(output), advice));
  GQ_ASSIGN_OR_RETURN(const std::string digits, base::make_secret());  // others may look at the same moment
  const std::string probe = base::join_path(output, ".gridquant-probe-" + digits.substr(0, 16));
  GQ_RETURN_IF_ERROR(annotate(base::write_file_atomically(env, probe, "probe\n"), advice));
  GQ_RETURN_IF_ERROR(annotate(env.remove_file(probe), advice));
  const StatusOr<uint64_t> free_bytes = env.free_bytes(output);
  if (free_bytes.ok() && *free_bytes < kLeastFreeBytes) {
    return absl::ResourceExhaustedError("no space is left on the disk of the output folder " + output);
  }
  return absl::OkStatus();
}

json make_report(const Delivery& delivery) {
  const sched::Run& run = delivery.run;
  json report = {{"format", 1},
                 {"run", run.id},
                 {"pipeline", run.pipeline.name},
                 {"created", show_utc(run.created_ms)},
                 {"output", delivery.output},
                 {"params", run.pipeline.params},
                 {"stages", stage_rows(run)},
                 {"environment", delivery.environment},
                 {"warnings", delivery.warnings}};
  const std::pair<const char*, const char*> sections[] = {{"analyze", "model"},
                                                          {"calibrate", "calibration"},
                                                          {"plan", "plan"},
                                                          {"quantize", "quantize"},
                                                          {"validate", "validate"}};
  for (const auto& [uses, section] : sections) {
    for (const sched::Stage& stage : run.stages) {
      if (stage.plan.uses != uses || stage.state != sched::StageState::kSucceeded) continue;
      if (!report.contains(section)) report[section] = stage.summary;
      if (!stage.plan.matrix.empty()) report["variants"][stage.plan.name] = stage.summary;
    }
  }
  return report;
}

Status deliver_checkpoints(base::Env& env, const Delivery& delivery) {
  const std::vector<const sched::Stage*> stages = quantize_stages(delivery.run);
  for (const sched::Stage* stage : stages) {
    const std::string folder =
        stages.size() == 1 ? delivery.output : base::join_path(delivery.output, stage->plan.name);
    GQ_RETURN_IF_ERROR(env.make_folders(folder));
    GQ_RETURN_IF_ERROR(annotate(deliver_checkpoint(env, delivery.artifact_of(stage->plan.name), folder),
                                "the checkpoint cannot be put into " + folder));
  }
  return absl::OkStatus();
}

Status deliver_report(base::Env& env, const std::string& output, const json& report) {
  const std::string text = report.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env, base::join_path(output, "report.json"), text));
  GQ_ASSIGN_OR_RETURN(const std::string page, eval::render_html(report, std::string(eval::chart_js())));
  return base::write_file_atomically(env, base::join_path(output, "report.html"), page);
}

}  // namespace gridquant::deliver
