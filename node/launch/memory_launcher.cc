// See memory_launcher.h.
#include "node/launch/memory_launcher.h"

namespace gridquant::node {

StatusOr<int64_t> MemoryLauncher::start(uint64_t id, const LaunchSpec& spec) {
  if (!start_error_.ok()) return std::exchange(start_error_, absl::OkStatus());
  running_[id] = spec;
  return static_cast<int64_t>(1000 + id);
}

void MemoryLauncher::signal(uint64_t id, Signal signal) {
  if (running_.count(id) != 0) signals_.emplace_back(id, signal);
}

void MemoryLauncher::write_log(uint64_t, std::string_view line) {
  log_.emplace_back(line);
}

std::vector<ProcessEvent> MemoryLauncher::wait(int, int) {
  std::vector<ProcessEvent> events(events_.begin(), events_.end());
  events_.clear();
  return events;
}

void MemoryLauncher::print(uint64_t id, std::string line) {
  if (running_.count(id) != 0) events_.push_back({id, ProcessEvent::Kind::kLine, std::move(line), 0});
}

void MemoryLauncher::exit(uint64_t id, int exit_code) {
  if (running_.erase(id) != 0) events_.push_back({id, ProcessEvent::Kind::kExited, "", exit_code});
}

}  // namespace gridquant::node
