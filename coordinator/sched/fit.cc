#include "coordinator/sched/fit.h"

#include <algorithm>
#include <limits>

namespace gridquant::sched {
namespace {

int cores_of_rank(const Node& node, const spec::StagePlan& plan) {
  return std::min(plan.cores, node.cores);
}

Member take(const std::string& name, const Node& node, const spec::StagePlan& plan, int ranks) {
  Member member;
  member.node = name;
  member.session = node.session;
  member.ranks = ranks;
  member.cores = plan.cores == 0 ? node.cores : cores_of_rank(node, plan) * ranks;
  member.memory_bytes = plan.memory_bytes * ranks;
  int wanted = plan.gpus_per_rank * ranks;
  for (int gpu = 0; gpu < node.gpus && wanted > 0; ++gpu) {
    const uint64_t bit = uint64_t{1} << gpu;
    if ((node.used.gpus & bit) != 0) continue;
    member.gpus |= bit;
    --wanted;
  }
  return member;
}

NodeUse quarantined(const State& state, const std::string& name, const Node& node) {
  NodeUse use;
  for (const uint64_t epoch : node.used.leases) {
    for (const Member& member : state.leases.at(epoch).members) {
      if (member.node != name || member.state != Member::State::kDirty) continue;
      use.cores += member.cores;
      use.memory_bytes += member.memory_bytes;
      use.gpus |= member.gpus;
    }
  }
  return use;
}

}  // namespace

bool may_use(const Node& node, const spec::StagePlan& plan) {
  return node.alive && !node.draining && !node.leaving && has_labels(node, plan);
}

bool has_labels(const Node& node, const spec::StagePlan& plan) {
  for (const auto& [label, value] : plan.node_selector) {
    const auto found = node.labels.find(label);
    if (found == node.labels.end() || found->second != value) return false;
  }
  return true;
}

int ranks_with_room(const Node& node, const spec::StagePlan& plan, const NodeUse& used) {
  int64_t ranks = 0;
  if (plan.cores > 0) {
    ranks = (node.cores - used.cores) / cores_of_rank(node, plan);
  } else if (used.cores == 0) {
    ranks = plan.gang_ranks == 1 ? 1 : node.cores;
  }
  if (plan.memory_bytes > 0) ranks = std::min(ranks, (node.memory_bytes - used.memory_bytes) / plan.memory_bytes);
  if (plan.gpus_per_rank > 0) {
    const int free = node.gpus - __builtin_popcountll(used.gpus);
    ranks = std::min<int64_t>(ranks, free / plan.gpus_per_rank);
  }
  return static_cast<int>(std::max<int64_t>(0, ranks));
}

int ranks_when_idle(const State& state, const spec::StagePlan& plan, int enough) {
  int ranks = 0;
  for (const auto& [name, node] : state.nodes) {
    if (!may_use(node, plan)) continue;
    ranks += ranks_with_room(node, plan, quarantined(state, name, node));
    if (ranks >= enough) return enough;
  }
  return ranks;
}

int ranks_at_best(const State& state, const spec::StagePlan& plan) {
  int ranks = 0;
  for (const auto& [name, node] : state.nodes) {
    if (node.alive && has_labels(node, plan)) ranks += ranks_with_room(node, plan, {});
  }
  return ranks;
}

int ranks_to_start(const State& state, const Stage& stage, Tick now_ms) {
  const spec::StagePlan& plan = stage.plan;
  const bool may_shrink = plan.gang_min_ranks < plan.gang_ranks;
  if (!may_shrink || now_ms < stage.since_ms + state.index.timing.shrink_after_ms) return plan.gang_ranks;
  const int possible = ranks_when_idle(state, plan, plan.gang_ranks);
  return possible >= plan.gang_min_ranks ? possible : 0;
}

const Stage* input_being_made(const State& state, const Run& run, const Stage& stage) {
  for (const size_t index : stage.inputs) {
    const Stage& input = run.stages[index];
    if (!is_over(input.state)) return &input;
    const auto use = state.index.keys.find(input.key);
    if (use == state.index.keys.end()) continue;
    for (const StageRef& ref : use->second.makers) {
      if (state.runs.at(ref.run).stages[ref.stage].state == StageState::kRunning) return &input;
    }
  }
  return nullptr;
}

std::vector<Member> fit(const State& state, const spec::StagePlan& plan, int ranks,
                        const std::set<std::string>& reserved) {
  struct Room {
    int ranks;
    const std::string* name;
    const Node* node;
  };
  std::vector<Room> rooms;
  const Room* best = nullptr;
  int least = std::numeric_limits<int>::max();
  rooms.reserve(ranks > 1 ? state.nodes.size() : 1);
  Room one{};
  for (const auto& [name, node] : state.nodes) {
    if (!may_use(node, plan) || reserved.count(name) != 0) continue;
    const int room = ranks_with_room(node, plan, node.used);
    if (room == 0) continue;
    if (ranks > 1) rooms.push_back({room, &name, &node});
    if (room >= ranks && room < least) {
      least = room;
      one = {room, &name, &node};
      best = &one;
      if (room == ranks) break;
    }
  }
  if (best != nullptr) return {take(*best->name, *best->node, plan, ranks)};
  std::stable_sort(rooms.begin(), rooms.end(), [](const Room& a, const Room& b) { return a.ranks > b.ranks; });
  std::vector<Member> members;
  for (const Room& room : rooms) {
    const int here = std::min(ranks, room.ranks);
    members.push_back(take(*room.name, *room.node, plan, here));
    ranks -= here;
    if (ranks == 0) return members;
  }
  return {};
}

}  // namespace gridquant::sched
