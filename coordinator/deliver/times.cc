// See times.h.
#include "coordinator/deliver/times.h"

#include <ctime>

namespace gridquant::deliver {

std::string show_utc(int64_t wall_ms) {
  const std::time_t seconds = static_cast<std::time_t>(wall_ms / 1000);
  std::tm parts = {};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

double stage_seconds(const sched::Stage& stage, int64_t now_ms) {
  int64_t total_ms = 0;
  for (const sched::Attempt& attempt : stage.attempts) {
    const int64_t end_ms = attempt.finished_ms > 0 ? attempt.finished_ms : now_ms;
    if (end_ms > attempt.granted_ms) total_ms += end_ms - attempt.granted_ms;
  }
  return static_cast<double>(total_ms) / 1000.0;
}

}  // namespace gridquant::deliver
