// explain(): one sentence about one stage.
#include <algorithm>
#include <map>
#include <tuple>

#include "coordinator/sched/fit.h"
#include "coordinator/sched/scheduler.h"

namespace gridquant::sched {
namespace {

std::string count(int64_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

std::string seconds(Tick ms) {
  return std::to_string((ms + 999) / 1000) + " s";
}

std::string wanted(const spec::StagePlan& plan) {
  std::string text = count(plan.gang_ranks, "rank");
  if (plan.gang_min_ranks < plan.gang_ranks) text += " (at least " + std::to_string(plan.gang_min_ranks) + ")";
  text += plan.cores > 0 ? " of " + count(plan.cores, "core") : " on whole nodes";
  if (plan.gpus_per_rank > 0) text += ", " + count(plan.gpus_per_rank, "GPU");
  if (plan.memory_bytes > 0) text += ", " + std::to_string(plan.memory_bytes >> 20) + " MiB";
  for (const auto& [label, value] : plan.node_selector) text += ", " + label + "=" + value;
  return text;
}

std::string pending(const Scheduler& scheduler, const Run& run, const Stage& stage) {
  std::string waits;
  std::vector<size_t> before = stage.needs;
  before.insert(before.end(), stage.inputs.begin(), stage.inputs.end());
  for (const size_t need : before) {
    const Stage& other = run.stages[need];
    const std::string text = "stage '" + other.plan.name + "' (" + name_of(other.state) + ")";
    if (!is_over(other.state) && waits.find(text) == std::string::npos) waits += (waits.empty() ? "" : ", ") + text;
  }
  if (!waits.empty()) return "waits for " + waits;
  const auto use = scheduler.state().index.keys.find(stage.key);
  if (use == scheduler.state().index.keys.end() || use->second.makers.empty()) return "is about to be looked at";
  const StageRef& maker = *use->second.makers.begin();
  return "waits for stage '" + scheduler.find_run(maker.run)->stages[maker.stage].plan.name + "' of run " + maker.run +
         ", which makes the same result";
}

// `held`: what the queue uses now; nothing: only what could never start is told.
std::string quota(const State& state, const Run& run, const spec::StagePlan& plan, const QueueUse& held) {
  const auto found = state.queues.find(run.pipeline.queue);
  if (found == state.queues.end()) return "";
  const Queue& limit = found->second;
  const auto part = [&](int64_t max, int64_t used, int64_t asked, const std::string& what) -> std::string {
    if (max == 0 || used + asked <= max) return "";
    if (asked > max) {
      return "asks for " + count(asked, what) + ", more than the whole quota of " + std::to_string(max) +
             " of queue '" + run.pipeline.queue + "': it cannot start before that is raised (gridquant queues set)";
    }
    return "asks for " + count(asked, what) + " of queue '" + run.pipeline.queue + "', which uses " +
           std::to_string(used) + " of its " + std::to_string(max);
  };
  std::string text = part(limit.gpus, held.gpus, plan.gpus_per_rank * plan.gang_ranks, "GPU");
  if (text.empty()) text = part(limit.cores, held.cores, std::max(plan.cores, 1) * plan.gang_ranks, "core");
  if (!text.empty()) return text;
  return part(limit.memory_bytes >> 20, held.memory_bytes >> 20, (plan.memory_bytes * plan.gang_ranks) >> 20, "MiB");
}

QueueUse held_by(const State& state, const std::string& queue) {
  const auto of = state.index.queues.find(queue);
  return of == state.index.queues.end() ? QueueUse{} : of->second;
}

std::string ahead_of(const Scheduler& scheduler, const Stage& stage, const Place& own) {
  int ahead = 0;
  const Place* first = nullptr;
  for (const auto& [shape, places] : scheduler.state().index.ready) {
    for (const Place& place : places) {
      if (!(place < own)) break;
      ++ahead;
      if (first == nullptr || place < *first) first = &place;
    }
  }
  if (!stage.links.placed || first == nullptr) return "nobody is ahead";
  const Run& run = *scheduler.find_run(first->ref.run);
  return count(ahead, "stage") + (ahead == 1 ? " is" : " are") + " ahead, first '" +
         run.stages[first->ref.stage].plan.name + "' of run " + run.id;
}

int quarantined_slots(const State& state) {
  int slots = 0;
  for (const auto& [epoch, lease] : state.leases) {
    slots += static_cast<int>(std::count_if(lease.members.begin(), lease.members.end(),
                                            [](const Member& one) { return one.state == Member::State::kDirty; }));
  }
  return slots;
}

std::string ready(const Scheduler& scheduler, const Run& run, const Stage& stage, size_t index) {
  const State& state = scheduler.state();
  if (run.paused) return "waits because its run is paused";
  for (const uint64_t epoch : stage.links.leases) {
    for (const Member& member : state.leases.at(epoch).members) {
      const bool there = member.state == Member::State::kGranted || member.state == Member::State::kStarted;
      if (there && state.nodes.at(member.node).alive) {
        return "waits until node " + member.node + " has torn down its attempt before";
      }
    }
  }
  if (const Stage* input = input_being_made(state, run, stage); input != nullptr) {
    return "waits for stage '" + input->plan.name + "', whose damaged result is made again";
  }
  const std::string over = quota(state, run, stage.plan, held_by(state, run.pipeline.queue));
  if (!over.empty()) return over;
  if (state.nodes.empty()) return "needs " + wanted(stage.plan) + ", and no node has joined yet (gridquant node)";
  int usable = 0, room = 0, lost = 0, draining = 0, unlike = 0;
  for (const auto& [name, node] : state.nodes) {
    const bool may = may_use(node, stage.plan);
    lost += node.alive ? 0 : 1;
    draining += node.alive && (node.draining || node.leaving) ? 1 : 0;
    unlike += !may && node.alive && !node.draining && !node.leaving ? 1 : 0;
    if (!may) continue;
    ++usable;
    room += ranks_with_room(node, stage.plan, node.used);
  }
  const int idle = ranks_when_idle(state, stage.plan, stage.plan.gang_ranks);
  std::string text = "needs " + wanted(stage.plan) + "; free is room for " + count(room, "rank") + " on " +
                     count(usable, "node") + " that it may use";
  if (lost > 0) text += ", " + std::to_string(lost) + " lost";
  if (draining > 0) text += ", " + std::to_string(draining) + " draining";
  if (unlike > 0) text += ", " + std::to_string(unlike) + " without these labels";
  if (const int dirty = quarantined_slots(state); dirty > 0) {
    text += ", " + count(dirty, "slot") + " quarantined (gridquant nodes list)";
  }
  if (idle < stage.plan.gang_min_ranks) text += ", and even when idle they hold only " + std::to_string(idle);
  return text + "; " + ahead_of(scheduler, stage, {stage.links.order, run.number, {run.id, index}});
}

// Of the nodes that are there the one with most GPUs, then memory, then cores: what people compare a request with.
std::string largest_node(const State& state) {
  const std::string* name = nullptr;
  const Node* largest = nullptr;
  const auto size = [](const Node& node) { return std::tuple(node.gpus, node.memory_bytes, node.cores); };
  for (const auto& [each, node] : state.nodes) {
    if (!node.alive || (largest != nullptr && size(node) <= size(*largest))) continue;
    name = &each;
    largest = &node;
  }
  if (largest == nullptr) return "";
  return *name + " with " + count(largest->cores, "core") + ", " + count(largest->gpus, "GPU") + ", " +
         std::to_string(largest->memory_bytes >> 20) + " MiB";
}

std::string beyond_nodes(const State& state, const spec::StagePlan& plan) {
  const int idle = ranks_at_best(state, plan);
  if (idle >= plan.gang_min_ranks) return "";
  const std::string largest = largest_node(state);
  if (largest.empty()) return "waits for a node: none is there now (gridquant node)";
  std::string text = "needs " + wanted(plan) + ", and the nodes that are there now ";
  text += idle == 0 ? "hold none of them" : "hold only " + count(idle, "rank");
  return text + ", even when idle; the largest is " + largest + "; it waits for a node that can (gridquant nodes list)";
}

std::string running(const Scheduler& scheduler, const Stage& stage) {
  const Attempt& attempt = stage.attempts.back();
  std::string text =
      "runs as attempt " + std::to_string(attempt.number) + " with " + count(attempt.ranks, "rank") + " on";
  const auto lease = scheduler.state().leases.find(attempt.epoch);
  if (lease == scheduler.state().leases.end()) return text + " " + attempt.node;
  for (const Member& member : lease->second.members) text += (text.back() == 'n' ? " " : ", ") + member.node;
  return attempt.stopping.empty() ? text : text + " and is being stopped (" + attempt.stopping + ")";
}

}  // namespace

std::vector<std::string> out_of_reach(const State& state, const std::string& run_id) {
  const auto run = state.runs.find(run_id);
  if (run == state.runs.end()) return {};
  std::map<std::string, std::vector<std::string>> stages;  // what is to be said -> of whom
  for (const Stage& stage : run->second.stages) {
    if (is_over(stage.state)) continue;
    std::string why = quota(state, run->second, stage.plan, {});
    if (why.empty()) why = beyond_nodes(state, stage.plan);
    if (!why.empty()) stages[why].push_back(stage.plan.name);
  }
  std::vector<std::string> sentences;
  for (const auto& [why, names] : stages) {
    const std::string more = names.size() > 1 ? "(and " + std::to_string(names.size() - 1) + " more like it) " : "";
    sentences.push_back("stage '" + names.front() + "' " + more + why);
  }
  return sentences;
}

std::string no_run(const State& state, const std::string& id) {
  const auto batch = state.batches.find(id);
  if (batch == state.batches.end()) return "there is no run '" + id + "': see gridquant list";
  return "'" + id + "' is a batch: name one of its runs, " + batch->second.runs.front() +
         (batch->second.runs.size() > 1 ? " to " + batch->second.runs.back() : "") + " (gridquant get " + id + ")";
}

StatusOr<std::string> explain(const Scheduler& scheduler, const std::string& run_id, const std::string& name,
                              Tick now_ms) {
  const Run* run = scheduler.find_run(run_id);
  if (run == nullptr) return absl::NotFoundError(no_run(scheduler.state(), run_id));
  const auto index = run->index.find(name);
  if (index == run->index.end()) return absl::NotFoundError("run " + run_id + " has no stage '" + name + "'");
  const Stage& stage = run->stages[index->second];
  const std::string head = "stage '" + name + "' ";
  if (!is_over(stage.state) && run->state == RunState::kQueued) {
    const auto batch = scheduler.state().batches.find(run->batch);
    const int most = batch == scheduler.state().batches.end() ? 0 : batch->second.max_parallel;
    return head + "waits for its run's turn: batch " + run->batch + " runs " + std::to_string(most) + " at a time";
  }
  switch (stage.state) {
    case StageState::kPending:
      return head + (run->paused ? "waits because its run is paused" : pending(scheduler, *run, stage));
    case StageState::kLooking:
      return head + "is looking for a stored result";
    case StageState::kReady:
      return head + ready(scheduler, *run, stage, index->second);
    case StageState::kWaiting:
      return head + "waits " + seconds(std::max<Tick>(0, stage.not_before_ms - now_ms)) + " more before attempt " +
             std::to_string(stage.attempts.size() + 1) + ": " + stage.reason;
    case StageState::kRunning:
      return head + running(scheduler, stage);
    default:
      return head + "is over: " + name_of(stage.state) + (stage.cached ? " (found)" : "") +
             (stage.reason.empty() ? "" : ", " + stage.reason);
  }
}

}  // namespace gridquant::sched
