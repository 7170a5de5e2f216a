// Events as JSON lines, and the thread of the heartbeat.
#include "node/worker/json_lines.h"

#include <cctype>
#include <cstdio>
#include <ctime>
#include <string>

#include "absl/time/time.h"
#include "engine/base/file_calls.h"

namespace gridquant::worker {
namespace {

using nlohmann::json;

constexpr int64_t kTickMs = 10;  // of processor time: what is less is no work

// As Abseil's constructors spell it: "InvalidArgument".
std::string code_name(absl::StatusCode code) {
  std::string name;
  bool start = true;
  for (const char c : absl::StatusCodeToString(code)) {
    if (c == '_') {
      start = true;
      continue;
    }
    name += start ? c : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    start = false;
  }
  return name;
}

int64_t used_ns(clockid_t clock) {
  timespec used{};
  clock_gettime(clock, &used);
  return static_cast<int64_t>(used.tv_sec) * 1'000'000'000 + used.tv_nsec;
}

// Of all threads but this one, which beats: beats are no sign of work.
int64_t processor_ticks() {
  return (used_ns(CLOCK_PROCESS_CPUTIME_ID) - used_ns(CLOCK_THREAD_CPUTIME_ID)) / (kTickMs * 1'000'000);
}

}  // namespace

void JsonLines::progress(int64_t done, int64_t total, std::string_view unit, std::string_view message) {
  if (rank_ != 0) return;
  write({{"event", "progress"}, {"done", done}, {"total", total}, {"unit", unit}, {"message", message}});
}

void JsonLines::note(std::string_view message) {
  if (rank_ == 0) write({{"event", "note"}, {"message", message}});
}

void JsonLines::warning(std::string_view message) {
  if (rank_ == 0) write({{"event", "warning"}, {"message", message}});
}

void JsonLines::heartbeat(int64_t progress) {
  write({{"event", "heartbeat"}, {"rank", rank_}, {"progress", progress}});
}

void JsonLines::error(const Status& status) {
  write({{"event", "error"}, {"code", code_name(status.code())}, {"message", std::string(status.message())}});
}

void JsonLines::write(const json& event) {
  const std::string line = event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  absl::MutexLock lock(&mutex_);
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

Heartbeat::Heartbeat(JsonLines& lines, const std::atomic<int64_t>& waits, Times times)
    : lines_(lines), waits_(waits), times_(times), thread_([this] { run(); }) {}

Heartbeat::~Heartbeat() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Heartbeat::run() {
  const base::FileCalls& calls = base::file_calls();
  int64_t last = 0, still_ms = 0;
  absl::MutexLock lock(&mutex_);
  while (!mutex_.AwaitWithTimeout(absl::Condition(&stopping_), absl::Milliseconds(times_.beat_ms))) {
    const int64_t now = processor_ticks() + waits_ + calls.turns;
    still_ms = now == last ? still_ms + times_.beat_ms : 0;
    last = now;
    const bool in_a_call = calls.under_way > 0 && still_ms <= times_.longest_file_call_ms;
    if (still_ms == 0 || in_a_call) lines_.heartbeat(now);
  }
}

}  // namespace gridquant::worker
