// Where a stage's time goes: every moment between two laps belongs to exactly one phase.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/base/clock.h"

namespace gridquant::stages {

class PhaseTimes {
 public:
  explicit PhaseTimes(base::Clock& clock) : clock_(clock), last_ms_(clock.monotonic_ms()) {}

  // The time since the last lap (or the start) was spent on `phase`.
  void lap(const std::string& phase) {
    const int64_t now_ms = clock_.monotonic_ms();
    total_ms_[phase] += now_ms - last_ms_;
    last_ms_ = now_ms;
  }
  nlohmann::json seconds() const {
    nlohmann::json seconds = nlohmann::json::object();
    for (const auto& [phase, ms] : total_ms_) seconds[phase] = static_cast<double>(ms) / 1000.0;
    return seconds;
  }

 private:
  base::Clock& clock_;
  int64_t last_ms_;
  std::map<std::string, int64_t> total_ms_;
};

}  // namespace gridquant::stages
