// The operating system's clocks.
#include "engine/base/clock.h"

#include <chrono>

namespace gridquant::base {
namespace {

class SystemClock final : public Clock {
 public:
  int64_t monotonic_ms() const override { return in_ms(std::chrono::steady_clock::now().time_since_epoch()); }
  int64_t wall_ms() const override { return in_ms(std::chrono::system_clock::now().time_since_epoch()); }

 private:
  template <typename Duration>
  static int64_t in_ms(Duration since) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;  // stateless
  return clock;
}

}  // namespace gridquant::base
