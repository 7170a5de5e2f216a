// Time, behind a seam. Deadlines and durations use the monotonic clock, people see the wall clock.
#pragma once

#include <cstdint>

namespace gridquant::base {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t monotonic_ms() const = 0;
  virtual int64_t wall_ms() const = 0;  // since 1970-01-01 UTC
};

Clock& system_clock();

class ManualClock final : public Clock {
 public:
  int64_t monotonic_ms() const override { return now_ms_; }
  int64_t wall_ms() const override { return now_ms_; }
  void advance_ms(int64_t by_ms) { now_ms_ += by_ms; }

 private:
  int64_t now_ms_ = 0;
};

}  // namespace gridquant::base
