// Names of runs, wherever a work folder has them.
#include "coordinator/store/run_ids.h"

#include "absl/strings/numbers.h"
#include "coordinator/store/state_store.h"

namespace gridquant::store {

StatusOr<std::set<std::string>> used_run_ids(base::Env& env, const std::string& workdir) {
  std::set<std::string> ids;
  for (const char* database : {kRunsDatabase, kCoordinatorDatabase}) {
    const auto store = open_sqlite_store(workdir, Access::kReadOnly, database);
    if (absl::IsNotFound(store.status())) continue;
    if (!store.ok()) return store.status();
    GQ_ASSIGN_OR_RETURN(const std::vector<RunRow> rows, (*store)->runs());
    for (const RunRow& row : rows) ids.insert(row.id);
  }
  const std::string logs = base::join_path(workdir, "runs");
  if (!env.is_folder(logs)) return ids;
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> folders, env.list(logs));
  ids.insert(folders.begin(), folders.end());
  return ids;
}

uint64_t run_number(const std::string& id) {
  constexpr size_t kMostDigits = 15;  // more is nothing that was ever counted up to
  const size_t dash = id.rfind('-');
  uint64_t number = 0;
  if (dash == std::string::npos || id.size() - dash - 1 > kMostDigits) return 0;
  return absl::SimpleAtoi(id.substr(dash + 1), &number) ? number : 0;
}

}  // namespace gridquant::store
