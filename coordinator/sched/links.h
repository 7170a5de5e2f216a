// Keeps Index, StageLinks and NodeUse in step with the state. Private to coordinator/sched: apply() calls these, and
// nobody else changes what they keep.
#pragma once

#include "coordinator/sched/record.h"
#include "coordinator/sched/state.h"

namespace gridquant::sched {

inline constexpr size_t kWholeRun = static_cast<size_t>(-1);  // StageRef::stage of a run's own timer

void link_run(State& state, Run& run);                                    // it was submitted
void stage_moved(State& state, Run& run, size_t stage, StageState from);  // its state has changed
void refresh_stage(State& state, Run& run, size_t stage);                 // its timers or its run's state have
void shrink_timer_fired(State& state, Run& run, size_t stage);
void run_moved(State& state, Run& run);                              // started, paused, resumed, ended
void hold(State& state, uint64_t epoch);                             // a new lease
void let_go(State& state, uint64_t epoch, const std::string& node);  // a member is gone
void unlink_run(State& state, Run& run);                      // it is deleted

// parts of apply()
Status refuse(const Record& record, const std::string& why);
Status apply_stage(State& state, const Record& record);
Status apply_node(State& state, const Record& record);
Status apply_member(State& state, const Record& record);

}  // namespace gridquant::sched
