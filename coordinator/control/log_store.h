// Logs of attempts as the nodes send them, in the coordinator's work folder: runs/RUN/STAGE/attempt-N.log. A piece is
// written only where the file ends, so pieces may come twice, late or with gaps. Thread-safe.
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
  // forget: the bytes that are there now.
  StatusOr<uint64_t> append(const std::string& name, uint64_t offset, std::string_view data, bool last);
  StatusOr<uint64_t> size(const std::string& name);  // 0 if there is none
  StatusOr<std::string> read(const std::string& name, uint64_t offset, size_t most);
  // Its end has come, as far as this process knows.
  bool is_complete(const std::string& name);
  Status remove_run(const std::string& run);  // all logs of it

 private:
  StatusOr<std::string> path_of(const std::string& name) const;

  base::Env& env_;
  const std::string workdir_;
  absl::Mutex mutex_;
  std::set<std::string> complete_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gridquant::control
