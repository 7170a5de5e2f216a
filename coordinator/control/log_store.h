// Logs of attempts as the nodes send them, in the coordinator's work folder: runs/RUN/STAGE/attempt-N.log. A piece is
// written only where the file ends, so pieces may come twice, late or with gaps. A disk that is full ends nothing: runs
// go on, and the nodes keep what was not written. Thread-safe.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "engine/base/env.h"
#include "engine/base/status.h"

namespace gridquant::control {

class LogStore {
 public:
  static constexpr uint64_t kMaxBytes = uint64_t{64} << 20;  // of one log; what comes after it is thrown away

  LogStore(base::Env& env, std::string workdir) : env_(env), workdir_(std::move(workdir)) {}

  // `name` as assign.h's log_name_of gives it; InvalidArgument if it is no such name. Returns what the sender may
  // forget: the bytes that are there now. Any other error: it was not written, and may be tried again.
  StatusOr<uint64_t> append(const std::string& name, uint64_t offset, std::string_view data, bool last);
  // Why the last piece could not be written; OK once one was. Told in this process's own log when it changes.
  Status trouble();
  StatusOr<uint64_t> size(const std::string& name);  // 0 if there is none
  StatusOr<std::string> read(const std::string& name, uint64_t offset, size_t most);
  // Its end has come, as far as this process knows.
  bool is_complete(const std::string& name);
  Status remove_run(const std::string& run);  // all logs of it

 private:
  StatusOr<std::string> path_of(const std::string& name) const;
  StatusOr<uint64_t> write(const std::string& path, uint64_t offset, std::string_view data)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::Env& env_;
  const std::string workdir_;
  absl::Mutex mutex_;
  std::set<std::string> complete_ ABSL_GUARDED_BY(mutex_);
  Status trouble_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gridquant::control
