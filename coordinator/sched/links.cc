#include "coordinator/sched/links.h"

#include <algorithm>

namespace gridquant::sched {
namespace {

bool is_making(StageState state) {
  return state == StageState::kLooking || state == StageState::kReady || state == StageState::kRunning ||
         state == StageState::kWaiting;
}

std::string shape_of(const Run& run, const spec::StagePlan& plan) {
  std::string shape = run.pipeline.queue;
  for (const int64_t part : {int64_t{plan.cores}, plan.memory_bytes, int64_t{plan.gpus_per_rank},
                             int64_t{plan.gang_ranks}, int64_t{plan.gang_min_ranks}}) {
    shape += '|' + std::to_string(part);
  }
  for (const auto& [label, value] : plan.node_selector) shape += '|' + label + '=' + value;
  return shape;
}

Tick earlier(Tick a, Tick b) {
  return a == 0 ? b : b == 0 ? a : std::min(a, b);
}

// When the stage has to be looked at though nothing happens to it; 0: never.
Tick timer_of(const State& state, const Run& run, const Stage& stage) {
  if (is_over(run.state)) return 0;
  const Timing& timing = state.index.timing;
  const bool waits = stage.state == StageState::kReady || stage.state == StageState::kWaiting;
  const bool runs = stage.state == StageState::kRunning && stage.attempts.back().stopping.empty();
  Tick due = 0;
  if (stage.state == StageState::kWaiting) due = stage.not_before_ms;
  if (stage.state == StageState::kReady && stage.plan.gang_min_ranks < stage.plan.gang_ranks) {
    due = stage.since_ms + timing.shrink_after_ms;
  }
  if (runs) {
    due = stage.deadline_ms;
    const Attempt& attempt = stage.attempts.back();
    const auto lease = state.leases.find(attempt.epoch);
    const bool starting = attempt.started_ms == 0 && lease != state.leases.end() && !lease->second.embedded();
    if (starting) due = earlier(due, attempt.granted_ms + timing.start_timeout_ms);
  }
  if ((waits || runs) && stage.plan.deadline_ms > 0) due = earlier(due, stage.queued_ms + stage.plan.deadline_ms);
  return due;
}

void set_timer(Index& index, Tick& old, Tick due, const StageRef& ref) {
  if (old == due) return;
  if (old != 0) index.timers.erase({old, ref});
  if (due != 0) index.timers.insert({due, ref});
  old = due;
}

// Its artifact may be read from now on: by stages of its run, and when the run is delivered.
bool is_needed(const Run& run, const Stage& stage) {
  return stage.state == StageState::kSucceeded && !stage.key.empty() &&
         (!is_over(run.state) || run.delivery == Delivery::kPending);
}

void set_needed(Index& index, Stage& stage, bool needed) {
  if (stage.links.needed == needed) return;
  stage.links.needed = needed;
  size_t& count = index.needed[stage.key];
  count += needed ? 1 : -1;
  if (count == 0) index.needed.erase(stage.key);
}

// Of a run that is paused: whoever waits for what this stage was to make looks whether it still has to.
void let_others_go_on(State& state, const Stage& stage) {
  const auto use = state.index.keys.find(stage.key);
  if (use != state.index.keys.end()) state.index.settle.insert(use->second.waiting.begin(), use->second.waiting.end());
}

void release_use(Node& node, QueueUse& queue, const Member& member) {
  node.used.cores -= member.cores;
  node.used.memory_bytes -= member.memory_bytes;
  node.used.gpus &= ~member.gpus;
  queue.cores -= member.cores;
  queue.memory_bytes -= member.memory_bytes;
  queue.gpus -= __builtin_popcountll(member.gpus);
}

}  // namespace

void link_run(State& state, Run& run) {
  run.open_stages = run.stages.size();
  state.index.open_runs.insert(run.id);
  for (size_t i = 0; i < run.stages.size(); ++i) {
    Stage& stage = run.stages[i];
    std::set<size_t> before(stage.needs.begin(), stage.needs.end());
    before.insert(stage.inputs.begin(), stage.inputs.end());
    for (const size_t index : before) run.stages[index].links.dependents.push_back(i);
    stage.links.open = before.size();
    stage.links.shape = shape_of(run, stage.plan);
  }
  if (run.stages.empty()) state.index.ended.insert(run.id);
  run_moved(state, run);
}

void run_moved(State& state, Run& run) {
  const StageRef whole{run.id, kWholeRun};
  const bool over = is_over(run.state);
  Tick due = over || run.pipeline.deadline_ms == 0 || run.started_ms == 0 || run.state == RunState::kCancelling
                 ? 0
                 : run.started_ms + run.pipeline.deadline_ms;
  set_timer(state.index, run.timer_ms, due, whole);
  if (over) {
    state.index.open_runs.erase(run.id);
    state.index.ended.erase(run.id);
  }
  for (size_t i = 0; i < run.stages.size(); ++i) {
    refresh_stage(state, run, i);
    const Stage& stage = run.stages[i];
    if (!over && stage.state == StageState::kPending && stage.links.open == 0) state.index.settle.insert({run.id, i});
    if (run.paused) let_others_go_on(state, stage);
  }
}

void stage_moved(State& state, Run& run, size_t index, StageState from) {
  Stage& stage = run.stages[index];
  const StageRef ref{run.id, index};
  if (is_over(from) != is_over(stage.state)) {
    const bool over = is_over(stage.state);
    run.open_stages += over ? -1 : 1;
    for (const size_t i : stage.links.dependents) {
      Stage& dependent = run.stages[i];
      dependent.links.open += over ? -1 : 1;
      if (dependent.links.open == 0 && dependent.state == StageState::kPending) state.index.settle.insert({run.id, i});
    }
    if (run.open_stages == 0) {
      state.index.ended.insert(run.id);
    } else {
      state.index.ended.erase(run.id);
    }
  }
  if (is_making(from) != is_making(stage.state) && !stage.key.empty()) {
    KeyUse& use = state.index.keys[stage.key];
    if (is_making(stage.state)) {
      use.makers.insert(ref);
    } else {
      use.makers.erase(ref);
    }
    if (use.makers.empty()) {
      state.index.settle.insert(use.waiting.begin(), use.waiting.end());
      state.index.keys.erase(stage.key);
    }
  }
  if (stage.state == StageState::kPending && stage.links.open == 0) state.index.settle.insert(ref);
  if (run.paused) let_others_go_on(state, stage);
  refresh_stage(state, run, index);
}

void refresh_stage(State& state, Run& run, size_t index) {
  Stage& stage = run.stages[index];
  StageLinks& links = stage.links;
  const StageRef ref{run.id, index};
  const bool placed = stage.state == StageState::kReady && run.state == RunState::kRunning && !run.paused;
  if (links.placed) {
    const auto shape = state.index.ready.find(links.shape);
    shape->second.erase({links.order, run.number, ref});
    if (shape->second.empty()) state.index.ready.erase(shape);
  }
  links.placed = placed;
  if (placed) {
    links.order = stage.queued_ms - run.pipeline.priority * state.index.timing.aging_ms;
    state.index.ready[links.shape].insert({links.order, run.number, ref});
  }
  set_needed(state.index, stage, is_needed(run, stage));
  set_timer(state.index, links.timer_ms, timer_of(state, run, stage), ref);
}

void shrink_timer_fired(State& state, Run& run, size_t index) {
  Stage& stage = run.stages[index];
  const Tick due = stage.plan.deadline_ms > 0 ? stage.queued_ms + stage.plan.deadline_ms : 0;
  set_timer(state.index, stage.links.timer_ms, due, {run.id, index});
}

void hold(State& state, uint64_t epoch) {
  Lease& lease = state.leases.at(epoch);
  Run& run = state.runs.at(lease.run);
  QueueUse& queue = state.index.queues[run.pipeline.queue];
  for (const Member& member : lease.members) {
    queue.cores += member.cores;
    queue.memory_bytes += member.memory_bytes;
    queue.gpus += __builtin_popcountll(member.gpus);
    NodeUse& used = state.nodes[member.node].used;
    used.cores += member.cores;
    used.memory_bytes += member.memory_bytes;
    used.gpus |= member.gpus;
    used.leases.insert(epoch);
  }
  run.stages[lease.stage].links.leases.push_back(epoch);
}

void let_go(State& state, uint64_t epoch, const std::string& name) {
  const auto found = state.leases.find(epoch);
  if (found == state.leases.end()) return;
  Run& run = state.runs.at(found->second.run);
  bool all = true;
  for (Member& member : found->second.members) {
    if (member.node == name && member.state != Member::State::kGone) {
      Node& node = state.nodes[name];
      release_use(node, state.index.queues[run.pipeline.queue], member);
      node.used.leases.erase(epoch);
      member.state = Member::State::kGone;
    }
    all = all && member.state == Member::State::kGone;
  }
  if (!all) return;
  std::vector<uint64_t>& leases = run.stages[found->second.stage].links.leases;
  leases.erase(std::remove(leases.begin(), leases.end(), epoch), leases.end());
  state.leases.erase(found);
}

void unlink_run(State& state, Run& run) {
  for (size_t i = 0; i < run.stages.size(); ++i) {
    state.index.settle.erase({run.id, i});
    set_needed(state.index, run.stages[i], false);
  }
  state.index.open_runs.erase(run.id);
}

}  // namespace gridquant::sched
