// The work folder: where things lie in it, and the lock that keeps a second `gridquant run` out.
//
//   lock                                  held while a run is carried out, with the process id inside
//   state.db, coordinator.db              the StateStore of gridquant run, of a coordinator
//   artifacts/<uses>-<16 digits of key>/  what a stage has made, or is making
//   artifacts/.store-id                   a random name, by which a node sees that it sees the coordinator's store
//   runs/<run>/<stage>/attempt-<n>.log    standard error and notes of an attempt
//   runs/<run>/<stage>/attempt-<n>.json   its task file
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::store {

std::string artifact_folder(const std::string& workdir, const std::string& uses, const std::string& key);
// Made if it is not there; the coordinator's part.
StatusOr<std::string> load_or_make_store_id(base::Env& env, const std::string& workdir);
std::string attempt_file(const std::string& workdir, const std::string& run, const std::string& stage, int attempt,
                         const std::string& ending);  // "log", "json"

// Advisory lock (flock) on `workdir`/lock. Workers inherit the descriptor: as long as one of them lives, nobody else
// gets the lock, so that no two processes ever write one artifact.
class WorkdirLock {
 public:
  // Waits up to `wait_ms` for processes of a killed run to go away. FailedPrecondition names the process that holds it.
  static StatusOr<WorkdirLock> acquire(const std::string& workdir, int64_t wait_ms);
  ~WorkdirLock();
  WorkdirLock(WorkdirLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  WorkdirLock& operator=(WorkdirLock&&) = delete;
  int fd() const { return fd_; }

 private:
  explicit WorkdirLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// Whether some process holds `folder`/lock: of a work folder, the one that carries out a run there; of an artifact's,
// the worker that makes it.
bool is_in_use(const std::string& folder);

}  // namespace gridquant::store
