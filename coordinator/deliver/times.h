// Times and durations of runs and stages, for people and reports.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/sched/state.h"

namespace gridquant::deliver {

std::string show_utc(int64_t wall_ms);  // "2026-11-22T10:40:00Z"
// Of all its attempts together, waiting between them not counted; of one that runs: up to `now_ms`, if that is given.
double stage_seconds(const sched::Stage& stage, int64_t now_ms = 0);

}  // namespace gridquant::deliver
