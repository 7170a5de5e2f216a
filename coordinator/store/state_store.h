// What gridquant remembers between its processes: records of runs, a list of runs, and what it knows of artifacts.
// Two bodies: SQLite in the work folder, and memory for tests. Not the artifacts themselves: those are files.
//
// One writer (the work folder's lock sees to it) and any number of readers, also while the writer writes.
// Errors: NotFound (no store there), FailedPrecondition (a store of another format), ResourceExhausted (disk full),
// Unavailable (any other I/O error), DataLoss (the file is no store).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/status.h"

namespace gridquant::store {

// Of the whole work folder: raised when an older gridquant could not read it. What is older is read, and marked as new
// by the first that writes. 2: deleted runs are erased, nodes may be forgotten.
inline constexpr int kFormat = 2;

struct RunRow {
  std::string id;        // "quickstart-3"
  std::string pipeline;  // "quickstart"
  std::string state;     // sched::name_of(RunState)
  int64_t created_ms = 0;
  int64_t finished_ms = 0;  // 0: not yet
};

struct ArtifactRow {
  std::string key;
  std::string uses;
  std::string stage;
  std::string run;  // that made it
  int64_t made_ms = 0;
  nlohmann::json components;  // what the key is the digest of
};

struct RecordRow {
  std::string run;
  std::string text;  // one record as JSON
};

struct ErasedRun {  // only the last of its records stays, and `mark`, of no run, where the first one stood
  std::string run;
  std::string mark;
};

struct Batch {
  std::vector<RecordRow> records;
  std::vector<RunRow> runs;            // inserted or replaced
  std::vector<ArtifactRow> artifacts;  // each in place of those of its stage and kind
  std::vector<ErasedRun> erased{};     // after the records were inserted
  bool empty() const { return records.empty() && runs.empty() && artifacts.empty() && erased.empty(); }
};

class StateStore {
 public:
  virtual ~StateStore() = default;
  virtual Status commit(const Batch& batch) = 0;  // all or nothing; durable when it returns
  virtual StatusOr<std::vector<std::string>> records(const std::string& run) = 0;  // in the order of commit
  // The records of a run after its first `after` ones, at most `most`.
  virtual StatusOr<std::vector<std::string>> records(const std::string& run, uint64_t after, size_t most) = 0;
  // All records of all runs, and those of none, in the order of commit; the first error of `each` ends it.
  virtual Status each_record(const std::function<Status(const std::string& text)>& each) = 0;
  virtual StatusOr<std::vector<RunRow>> runs() = 0;                                // oldest first
  // The artifact made last by a stage of this name and kind; nothing if there is none.
  virtual StatusOr<std::optional<ArtifactRow>> latest_artifact(const std::string& stage, const std::string& uses) = 0;
};

enum class Access { kReadWrite, kReadOnly };

inline constexpr const char* kRunsDatabase = "state.db";               // of gridquant run
inline constexpr const char* kCoordinatorDatabase = "coordinator.db";  // of a coordinator: other epochs, other runs

// `folder`/`database`; kReadWrite makes it if it is not there.
StatusOr<std::unique_ptr<StateStore>> open_sqlite_store(const std::string& folder, Access access,
                                                        const std::string& database = kRunsDatabase);
std::unique_ptr<StateStore> make_memory_store();

}  // namespace gridquant::store
