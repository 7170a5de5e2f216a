// Calls into the system's files that are under way in this process: a sync or a write to a slow disk may take minutes
// without using the processor. Whoever watches over a process must not take that for a hang. Kept by posix_env().
#pragma once

#include <atomic>
#include <cstdint>

namespace gridquant::base {

struct FileCalls {
  std::atomic<int64_t> turns{0};     // grows whenever one begins or ends
  std::atomic<int64_t> under_way{0};
};

inline FileCalls& file_calls() {
  static FileCalls calls;
  return calls;
}

// For the time of one call.
class FileCall {
 public:
  FileCall() {
    ++file_calls().turns;
    ++file_calls().under_way;
  }
  ~FileCall() {
    --file_calls().under_way;
    ++file_calls().turns;
  }
  FileCall(const FileCall&) = delete;
  FileCall& operator=(const FileCall&) = delete;
};

}  // namespace gridquant::base
