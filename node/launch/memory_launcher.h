// Launcher without processes: a test says what each of them prints and when it ends.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "node/launch/launcher.h"

namespace gridquant::node {

class MemoryLauncher final : public Launcher {
 public:
  StatusOr<int64_t> start(uint64_t id, const LaunchSpec& spec) override;
  void signal(uint64_t id, Signal signal) override;
  void write_log(uint64_t id, std::string_view line) override;
  std::vector<ProcessEvent> wait(int timeout_ms, int wake_fd) override;  // never waits

  // What the test does and sees.
  void fail_next_start(Status status) { start_error_ = std::move(status); }
  void print(uint64_t id, std::string line);
  void exit(uint64_t id, int exit_code);
  const std::map<uint64_t, LaunchSpec>& running() const { return running_; }
  const std::vector<std::pair<uint64_t, Signal>>& signals() const { return signals_; }
  const std::vector<std::string>& log() const { return log_; }

 private:
  Status start_error_;
  std::map<uint64_t, LaunchSpec> running_;
  std::vector<std::pair<uint64_t, Signal>> signals_;
  std::vector<std::string> log_;
  std::deque<ProcessEvent> events_;
};

}  // namespace gridquant::node
