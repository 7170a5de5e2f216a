// StateStore in SQLite: write-ahead log, synchronous=FULL, one transaction per batch. The only file with sqlite3.h.
#include <sqlite3.h>

#include <sys/stat.h>

#include "coordinator/store/state_store.h"
#include "engine/base/env.h"

namespace gridquant::store {
namespace {

constexpr int kBusyTimeoutMs = 5'000;
constexpr int64_t kWorthShrinking = 4 << 20;  // bytes
constexpr const char* kSchema =
    "CREATE TABLE records (seq INTEGER PRIMARY KEY, run TEXT NOT NULL, body TEXT NOT NULL);"
    "CREATE INDEX records_by_run ON records (run, seq);"
    "CREATE TABLE runs (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pipeline TEXT NOT NULL, state TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, finished_ms INTEGER NOT NULL);"
    "CREATE TABLE artifacts (seq INTEGER PRIMARY KEY, key TEXT NOT NULL, uses TEXT NOT NULL, stage TEXT NOT NULL,"
    " run TEXT NOT NULL, made_ms INTEGER NOT NULL, components TEXT NOT NULL);"
    "CREATE INDEX artifacts_by_stage ON artifacts (stage, uses, seq);";

// A prepared statement; finalized at the end of its scope.
class Statement {
 public:
  Statement(sqlite3* db, const char* sql) { sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr); }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& text) {
    sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Statement& bind(int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Statement& again() {
    sqlite3_reset(statement_);
    bound_ = 0;
    return *this;
  }
  int step() { return statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_); }
  std::string text(int column) {
    const unsigned char* value = sqlite3_column_text(statement_, column);
    return value == nullptr ? "" : reinterpret_cast<const char*>(value);
  }
  int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

class SqliteStore final : public StateStore {
 public:
  SqliteStore(sqlite3* db, std::string path) : db_(db), path_(std::move(path)) {}
  ~SqliteStore() override { sqlite3_close_v2(db_); }

  Status prepare(Access access) {
    sqlite3_busy_timeout(db_, kBusyTimeoutMs);
    GQ_ASSIGN_OR_RETURN(const int64_t found, pragma("PRAGMA user_version"));
    if (found == 0 && access == Access::kReadWrite) return create();
    if (found == 0) return absl::NotFoundError(path_ + " is empty: no run has been recorded there");
    if (found < 1 || found > kFormat) {
      return absl::FailedPreconditionError("the work folder " + base::folder_of(path_) + " has format " +
                                           std::to_string(found) + ", this gridquant reads format " +
                                           std::to_string(kFormat) +
                                           ": use another folder (--workdir DIR), or remove this one to start afresh");
    }
    if (access == Access::kReadOnly) return absl::OkStatus();
    GQ_RETURN_IF_ERROR(pragmas());
    if (found < kFormat) GQ_RETURN_IF_ERROR(mark_format());
    return shrink();
  }

  Status commit(const Batch& batch) override {
    if (batch.empty()) return absl::OkStatus();
    GQ_RETURN_IF_ERROR(execute("BEGIN IMMEDIATE"));
    const Status written = write(batch);
    if (!written.ok()) {
      execute("ROLLBACK").IgnoreError();
      return written;
    }
    return execute("COMMIT");
  }

  StatusOr<std::vector<std::string>> records(const std::string& run) override {
    Statement select(db_, "SELECT body FROM records WHERE run = ? ORDER BY seq");
    select.bind(run);
    return texts(select);
  }

  StatusOr<std::vector<std::string>> records(const std::string& run, uint64_t after, size_t most) override {
    Statement select(db_, "SELECT body FROM records WHERE run = ? ORDER BY seq LIMIT ? OFFSET ?");
    select.bind(run).bind(static_cast<int64_t>(most)).bind(static_cast<int64_t>(after));
    return texts(select);
  }

  Status each_record(const std::function<Status(const std::string& text)>& each) override {
    Statement select(db_, "SELECT body FROM records ORDER BY seq");
    int code;
    while ((code = select.step()) == SQLITE_ROW) GQ_RETURN_IF_ERROR(each(select.text(0)));
    return code == SQLITE_DONE ? absl::OkStatus() : error(code);
  }

  StatusOr<std::vector<RunRow>> runs() override {
    Statement select(db_, "SELECT id, pipeline, state, created_ms, finished_ms FROM runs ORDER BY seq");
    std::vector<RunRow> rows;
    int code;
    while ((code = select.step()) == SQLITE_ROW) {
      rows.push_back({select.text(0), select.text(1), select.text(2), select.integer(3), select.integer(4)});
    }
    if (code != SQLITE_DONE) return error(code);
    return rows;
  }

  StatusOr<std::optional<ArtifactRow>> latest_artifact(const std::string& stage, const std::string& uses) override {
    Statement select(db_,
                     "SELECT key, uses, stage, run, made_ms, components FROM artifacts WHERE stage = ? AND uses = ? "
                     "ORDER BY seq DESC LIMIT 1");
    select.bind(stage).bind(uses);
    const int code = select.step();
    if (code == SQLITE_DONE) return std::nullopt;
    if (code != SQLITE_ROW) return error(code);
    ArtifactRow row{select.text(0), select.text(1), select.text(2), select.text(3), select.integer(4), {}};
    row.components = nlohmann::json::parse(select.text(5), nullptr, false);
    if (row.components.is_discarded()) return absl::DataLossError(path_ + ": an artifact's components are no JSON");
    return row;
  }

 private:
  Status error(int code) {
    const std::string message = path_ + ": " + sqlite3_errmsg(db_);
    switch (code & 0xff) {
      case SQLITE_FULL:
        return absl::ResourceExhaustedError(message + " (no space left on the disk)");
      case SQLITE_NOTADB:
      case SQLITE_CORRUPT:
        return absl::DataLossError(message);
      case SQLITE_READONLY:
      case SQLITE_CANTOPEN:
      case SQLITE_PERM:
        return absl::PermissionDeniedError(message);
      default:
        return absl::UnavailableError(message);
    }
  }

  // The first column of every row.
  StatusOr<std::vector<std::string>> texts(Statement& select) {
    std::vector<std::string> rows;
    int code;
    while ((code = select.step()) == SQLITE_ROW) rows.push_back(select.text(0));
    if (code != SQLITE_DONE) return error(code);
    return rows;
  }

  Status execute(const char* sql) {
    const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? absl::OkStatus() : error(code);
  }

  StatusOr<int64_t> pragma(const char* sql) {
    Statement select(db_, sql);
    const int code = select.step();
    if (code != SQLITE_ROW) return error(code == SQLITE_DONE ? SQLITE_ERROR : sqlite3_extended_errcode(db_));
    return select.integer(0);
  }

  Status pragmas() {
    GQ_RETURN_IF_ERROR(execute("PRAGMA journal_mode = WAL"));
    return execute("PRAGMA synchronous = FULL");
  }

  Status create() {
    GQ_RETURN_IF_ERROR(pragmas());
    GQ_RETURN_IF_ERROR(execute("BEGIN IMMEDIATE"));
    GQ_RETURN_IF_ERROR(execute(kSchema));
    GQ_RETURN_IF_ERROR(mark_format());
    return execute("COMMIT");
  }

  Status mark_format() { return execute(("PRAGMA user_version = " + std::to_string(kFormat)).c_str()); }

  // Gives the room of erased runs back to the disk, if that is most of the file. All or nothing, like any transaction;
  // where there is no room for the copy, the file stays as it is, and its free pages are used for what comes.
  Status shrink() {
    GQ_ASSIGN_OR_RETURN(const int64_t pages, pragma("PRAGMA page_count"));
    GQ_ASSIGN_OR_RETURN(const int64_t unused, pragma("PRAGMA freelist_count"));
    GQ_ASSIGN_OR_RETURN(const int64_t page_size, pragma("PRAGMA page_size"));
    if (unused * page_size < kWorthShrinking || unused * 2 < pages) return absl::OkStatus();
    if (execute("VACUUM").ok()) execute("PRAGMA wal_checkpoint(TRUNCATE)").IgnoreError();
    return absl::OkStatus();
  }

  Status run_to_end(Statement& statement) {
    const int code = statement.step();
    return code == SQLITE_DONE ? absl::OkStatus() : error(code);
  }

  Status write(const Batch& batch) {
    Statement insert_record(db_, "INSERT INTO records (run, body) VALUES (?, ?)");
    for (const RecordRow& record : batch.records) {
      GQ_RETURN_IF_ERROR(run_to_end(insert_record.again().bind(record.run).bind(record.text)));
    }
    for (const RunRow& run : batch.runs) {
      Statement upsert(db_,
                       "INSERT INTO runs (id, pipeline, state, created_ms, finished_ms) VALUES (?, ?, ?, ?, ?) "
                       "ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished_ms = excluded.finished_ms");
      upsert.bind(run.id).bind(run.pipeline).bind(run.state).bind(run.created_ms).bind(run.finished_ms);
      GQ_RETURN_IF_ERROR(run_to_end(upsert));
    }
    for (const ArtifactRow& row : batch.artifacts) {
      Statement insert(db_,
                       "INSERT INTO artifacts (key, uses, stage, run, made_ms, components) VALUES (?, ?, ?, ?, ?, ?)");
      insert.bind(row.key).bind(row.uses).bind(row.stage).bind(row.run).bind(row.made_ms).bind(row.components.dump());
      GQ_RETURN_IF_ERROR(run_to_end(insert));
      Statement drop(db_, "DELETE FROM artifacts WHERE stage = ? AND uses = ? AND seq < last_insert_rowid()");
      GQ_RETURN_IF_ERROR(run_to_end(drop.bind(row.stage).bind(row.uses)));
    }
    for (const ErasedRun& run : batch.erased) GQ_RETURN_IF_ERROR(erase(run));
    return absl::OkStatus();
  }

  Status erase(const ErasedRun& run) {
    Statement drop(db_,
                   "DELETE FROM records WHERE run = ?1 AND seq > (SELECT MIN(seq) FROM records WHERE run = ?1)"
                   " AND seq < (SELECT MAX(seq) FROM records WHERE run = ?1)");
    GQ_RETURN_IF_ERROR(run_to_end(drop.bind(run.run)));
    Statement mark(db_,
                   "UPDATE records SET run = '', body = ?"
                   " WHERE seq = (SELECT MIN(seq) FROM records WHERE run = ?)");
    return run_to_end(mark.bind(run.mark).bind(run.run));
  }

  sqlite3* db_;
  std::string path_;
};

}  // namespace

StatusOr<std::unique_ptr<StateStore>> open_sqlite_store(const std::string& folder, Access access,
                                                        const std::string& database) {
  const std::string path = base::join_path(folder, database);
  struct stat info = {};
  if (access == Access::kReadOnly && ::stat(path.c_str(), &info) != 0) {
    return absl::NotFoundError("no run has been recorded in the work folder " + folder);
  }
  const int flags = access == Access::kReadWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    const std::string reason = db == nullptr ? "out of memory" : sqlite3_errmsg(db);
    sqlite3_close_v2(db);
    return absl::PermissionDeniedError(path + ": " + reason);
  }
  auto store = std::make_unique<SqliteStore>(db, path);
  GQ_RETURN_IF_ERROR(store->prepare(access));
  return store;
}

}  // namespace gridquant::store
