// See garbage.h.
#include "coordinator/control/garbage.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <set>
#include <string_view>

#include "coordinator/store/state_store.h"
#include "coordinator/store/workdir.h"
#include "engine/base/log.h"

namespace gridquant::control {
namespace {

using nlohmann::json;

constexpr size_t kKeyDigits = 16;  // in a folder's name
constexpr const char* kTrash = ".trash";
constexpr std::string_view kTaskFile = ".attempt-";  // beside an artifact: ARTIFACT.attempt-EPOCH.json, of a gang

struct Candidate {
  std::string root, name;  // a folder in root
  std::string refers_to;   // key's first digits, or a run
  bool is_artifact = false;
  int64_t bytes = 0;
};

// What an agent that was killed left of a gang's attempt.
struct TaskFile {
  std::string path;
  uint64_t epoch = 0;
};

struct Collection {
  GarbageOptions options;
  std::vector<Candidate> candidates;
  std::vector<TaskFile> task_files;
  std::set<std::string> local_keys, local_runs;  // of `gridquant run` in the same folder
  Garbage garbage;
};

int64_t size_of(base::Env& env, const std::string& folder) {
  int64_t bytes = 0;
  const StatusOr<std::vector<std::string>> names = env.list(folder);
  for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
    const std::string path = base::join_path(folder, name);
    if (env.is_folder(path)) {
      bytes += size_of(env, path);
    } else if (const StatusOr<uint64_t> size = env.file_size(path); size.ok()) {
      bytes += static_cast<int64_t>(*size);
    }
  }
  return bytes;
}

// Of what was changed last in the folder itself: artifact.json is written at an artifact's end.
int64_t age_ms(const std::string& folder) {
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(folder, error);
  if (error) return 0;
  return std::chrono::duration_cast<std::chrono::milliseconds>(decltype(changed)::clock::now() - changed).count();
}

void find_task_file(const std::string& root, const std::string& name, Collection& all) {
  const size_t at = name.rfind(kTaskFile);
  TaskFile file{base::join_path(root, name)};
  if (at == std::string::npos || !name.ends_with(".json")) return;
  const char* first = name.data() + at + kTaskFile.size();
  const char* last = name.data() + name.size() - std::string_view(".json").size();
  if (const auto [end, error] = std::from_chars(first, last, file.epoch); error != std::errc() || end != last) return;
  if (age_ms(file.path) >= all.options.min_age_ms) all.task_files.push_back(std::move(file));
}

void find_candidates(base::Env& env, Collection& all) {
  const auto add = [&](const std::string& root, bool is_artifact) {
    const StatusOr<std::vector<std::string>> names = env.list(root);
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
      const std::string folder = base::join_path(root, name);
      const size_t dash = name.rfind('-');
      if (is_artifact) find_task_file(root, name, all);
      if (!env.is_folder(folder) || (is_artifact && (dash == std::string::npos || dash == 0))) continue;
      if (is_artifact && age_ms(folder) < all.options.min_age_ms) continue;
      if (is_artifact && store::is_in_use(folder)) continue;  // by a worker that nobody here has started
      all.candidates.push_back({root, name, is_artifact ? name.substr(dash + 1) : name, is_artifact, 0});
    }
  };
  add(base::join_path(all.options.store, "artifacts"), true);
  add(base::join_path(all.options.workdir, "runs"), false);
}

Status find_local_runs(Collection& all) {
  for (const std::string& folder : std::set<std::string>{all.options.workdir, all.options.store}) {
    const auto store = store::open_sqlite_store(folder, store::Access::kReadOnly);
    if (store.status().code() == absl::StatusCode::kNotFound) continue;
    if (!store.ok()) return store.status();
    GQ_ASSIGN_OR_RETURN(const std::vector<store::RunRow> runs, (*store)->runs());
    for (const store::RunRow& run : runs) {
      all.local_runs.insert(run.id);
      GQ_ASSIGN_OR_RETURN(const std::vector<std::string> records, (*store)->records(run.id));
      for (const std::string& text : records) {
        const json record = json::parse(text, nullptr, /*allow_exceptions=*/false);
        if (!record.is_object() || !record.contains("body") || !record["body"].contains("keys")) continue;
        for (const auto& [stage, key] : record["body"]["keys"].items()) {
          if (key.is_string()) all.local_keys.insert(key.get<std::string>().substr(0, kKeyDigits));
        }
      }
    }
  }
  return absl::OkStatus();
}

// On the scheduler's thread: keeps only what nobody refers to, and renames it away.
void choose(base::Env& env, const View& view, Collection& all) {
  std::set<std::string> keys = all.local_keys, runs = all.local_runs;
  for (const auto& [id, run] : view.scheduler.state().runs) {
    runs.insert(id);
    for (const sched::Stage& stage : run.stages) keys.insert(stage.key.substr(0, kKeyDigits));
  }
  for (const auto& [epoch, lease] : view.scheduler.state().leases) runs.insert(lease.run);
  std::erase_if(all.candidates,
                [&](const Candidate& each) { return (each.is_artifact ? keys : runs).count(each.refers_to) != 0; });
  std::erase_if(all.task_files,
                [&](const TaskFile& each) { return view.scheduler.state().leases.contains(each.epoch); });
  if (all.options.dry_run) return;
  std::erase_if(all.candidates, [&](Candidate& each) {
    const std::string trash = base::join_path(base::folder_of(each.root), kTrash);
    const Status moved = env.make_folders(trash).ok()
                             ? env.rename(base::join_path(each.root, each.name), base::join_path(trash, each.name))
                             : absl::InternalError("no folder for what goes");
    if (!moved.ok())
      base::log(base::LogLevel::kWarning, "gc: " + each.name + " stays: " + std::string(moved.message()));
    return !moved.ok();
  });
}

void count(Collection& all) {
  for (const Candidate& each : all.candidates) {
    all.garbage.bytes += each.bytes;
    all.garbage.removed.push_back((each.is_artifact ? "artifacts/" : "runs/") + each.name);
  }
  all.garbage.count = static_cast<int64_t>(all.candidates.size());
  std::sort(all.garbage.removed.begin(), all.garbage.removed.end());
  if (all.garbage.removed.size() > kMaxNamed) all.garbage.removed.resize(kMaxNamed);
}

Status empty_trash(base::Env& env, const Collection& all) {
  for (const Candidate& each : all.candidates) {  // an artifact's warnings lie beside it
    const std::string warnings = base::join_path(each.root, each.name + ".warnings.json");
    if (each.is_artifact && env.exists(warnings)) GQ_RETURN_IF_ERROR(env.remove_file(warnings));
  }
  for (const TaskFile& each : all.task_files) {
    if (env.exists(each.path)) GQ_RETURN_IF_ERROR(env.remove_file(each.path));
  }
  GQ_RETURN_IF_ERROR(env.remove_tree(base::join_path(all.options.store, kTrash)));
  return env.remove_tree(base::join_path(all.options.workdir, kTrash));
}

}  // namespace

void collect_garbage(Core& core, base::Env& env, Executor& executor, GarbageOptions options, GarbageDone done) {
  const auto all = std::make_shared<Collection>();
  all->options = std::move(options);
  const auto remove = [all, &env, done] {
    for (Candidate& each : all->candidates) {
      const std::string folder = all->options.dry_run ? each.root : base::join_path(base::folder_of(each.root), kTrash);
      each.bytes = size_of(env, base::join_path(folder, each.name));
    }
    count(*all);
    const Status removed = all->options.dry_run ? absl::OkStatus() : empty_trash(env, *all);
    done(removed.ok() ? StatusOr<Garbage>(all->garbage) : removed);
  };
  executor.run([all, &core, &env, &executor, done, remove] {
    if (!all->options.dry_run) empty_trash(env, *all).IgnoreError();  // of a call that was cut off
    find_candidates(env, *all);
    if (const Status found = find_local_runs(*all); !found.ok()) return done(found);
    const Status posted = core.look([all, &env, &executor, done, remove](const View& view) {
      if (!view.ended.ok()) return done(view.ended);
      choose(env, view, *all);
      executor.run(remove);
    });
    if (!posted.ok()) done(posted);
  });
}

}  // namespace gridquant::control
