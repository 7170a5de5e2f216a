// Runs one stage by its name and commits what it left: the files first, artifact.json last.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/digest.h"
#include "stages/context.h"
#include "stages/parallel.h"
#include "stages/parameters.h"
#include "stages/shard.h"

namespace gridquant::stages {
namespace {

using StageFn = Status (*)(StageContext&);

bool has_parts(const Task& task) {
  return std::ranges::any_of(task.inputs, [](const auto& input) { return is_part_input(input.first); });
}

StageFn body_of(const Task& task) {
  const std::string& uses = task.uses;
  if (uses == "analyze") return run_analyze;
  if (uses == "calibrate") return run_calibrate;
  if (uses == "plan") return run_plan;
  if (uses == "quantize") return has_parts(task) ? run_quantize_join : run_quantize;
  if (uses == kPartStage) return run_quantize_part;
  if (uses == "validate") return run_validate;
  return nullptr;
}

Status unknown_stage(const std::string& uses) {
  std::vector<std::string> known;
  for (const StageInfo& stage : all_stages()) known.push_back(stage.name);
  return absl::UnimplementedError(
      absl::StrCat("no stage is called \"", uses, "\"; known are ", absl::StrJoin(known, ", ")));
}

// Not part of an artifact: its manifest, the attempt's lock, bookkeeping of writers (hidden), unfinished files.
bool belongs(const std::string& name) {
  return name != kArtifactManifest && name != kArtifactLock && name.front() != '.' && !name.ends_with(".tmp");
}

Status list_files(base::Env& env, const std::string& root, const std::string& prefix, std::vector<std::string>& out) {
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.list(base::join_path(root, prefix)));
  for (const std::string& name : names) {
    if (name.empty() || !belongs(name)) continue;
    const std::string path = prefix.empty() ? name : absl::StrCat(prefix, "/", name);
    if (env.is_folder(base::join_path(root, path))) {
      GQ_RETURN_IF_ERROR(list_files(env, root, path, out));
    } else {
      out.push_back(path);
    }
  }
  return absl::OkStatus();
}

Status commit(StageContext& context) {
  Artifact artifact;
  artifact.uses = context.task.uses;
  artifact.key = context.task.key;
  artifact.summary = context.summary;
  std::vector<std::string> paths;
  GQ_RETURN_IF_ERROR(list_files(context.env, context.task.artifact, "", paths));
  std::sort(paths.begin(), paths.end());
  artifact.files.resize(paths.size());
  GQ_RETURN_IF_ERROR(parallel(context.pool, static_cast<int64_t>(paths.size()), [&](int64_t i, int) -> Status {
    const std::string full = base::join_path(context.task.artifact, paths[i]);
    ArtifactFile& file = artifact.files[i];
    file.path = paths[i];
    GQ_ASSIGN_OR_RETURN(file.bytes, context.env.file_size(full));
    GQ_ASSIGN_OR_RETURN(file.sha256, base::digest_of_file(context.env, full));
    return absl::OkStatus();
  }));
  return commit_artifact(context.env, context.task.artifact, artifact);
}

// What an earlier attempt committed under the same key, if it is whole. Anything else is cleared away: a manifest
// that does not describe its files must not survive, nor may files that it vouched for.
StatusOr<bool> reuse(StageContext& context) {
  const Task& task = context.task;
  if (task.key.empty() || !context.env.exists(base::join_path(task.artifact, kArtifactManifest))) return false;
  const StatusOr<Artifact> artifact = read_artifact(context.env, task.artifact);
  Status found = artifact.status();
  if (artifact.ok()) {
    found = artifact->key == task.key && artifact->uses == task.uses
                ? verify_artifact(context.env, task.artifact, *artifact, /*digests=*/true)
                : absl::DataLossError("of another task");
  }
  if (is_io_trouble(found)) return found;  // says nothing about it: it may be whole
  if (found.ok()) {
    context.summary = artifact->summary;
    context.progress.note("committed by an earlier attempt; nothing to do");
    return true;
  }
  context.progress.warning(absl::StrCat(task.artifact, ": is damaged or of another task; made again"));
  GQ_RETURN_IF_ERROR(discard_artifact(context.env, task.artifact));
  return false;
}

}  // namespace

Status check_cancelled(const StageContext& context, std::string_view where) {
  return agree(context.comm, context.cancelled ? absl::CancelledError(absl::StrCat("asked to stop", std::string(where)))
                                               : absl::OkStatus());
}

Status run_stage(StageContext& context) {
  const StageInfo* info = find_stage(context.task.uses);
  const StageFn body = body_of(context.task);
  if (info == nullptr || body == nullptr) return unknown_stage(context.task.uses);
  Task task = context.task;
  GQ_ASSIGN_OR_RETURN(task.with, complete_parameters(*info, context.task.with));
  int64_t done = 0;
  GQ_RETURN_IF_ERROR(on_first_rank(context.comm, [&]() -> Status {
    GQ_RETURN_IF_ERROR(context.env.make_folders(task.artifact));
    if (!task.fresh.empty()) GQ_RETURN_IF_ERROR(start_fresh(context.env, task.artifact, task.fresh));
    GQ_ASSIGN_OR_RETURN(done, reuse(context));
    return absl::OkStatus();
  }));
  GQ_RETURN_IF_ERROR(broadcast_number(context.comm, done));
  if (done != 0) return absl::OkStatus();
  StageContext inner{task,        context.env,      context.clock,     context.pool,
                     context.cpu, context.progress, context.cancelled, context.comm};
  const auto run_body = [&] { return guard_memory([&] { return body(inner); }); };
  // plan reads a few files and thinks, and so does quantize where parts did its work: one rank does.
  const bool alone = body == run_plan || body == run_quantize_join;
  const Status status = alone ? on_first_rank(context.comm, run_body) : run_body();
  context.summary = inner.summary;
  GQ_RETURN_IF_ERROR(status);
  return on_first_rank(context.comm, [&] { return guard_memory([&] { return commit(inner); }); });
}

}  // namespace gridquant::stages
