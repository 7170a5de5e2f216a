// Which ready stage starts where.
//
// Order. A stage's place is (when it could first start) - priority * aging_ms: one level of priority stands ahead of
// everything that has not waited aging_ms longer. So whoever waits comes to the front in the end. Ties: the run that
// was submitted first, then the order of the file. A retry keeps its stage's place.
//
// Skipping ahead. What stands behind a stage that finds no room, or whose queue's quota is used up, may start.
//
// No starvation. The first stage in order that has waited reserve_after_ms without room, though the nodes could hold it
// when idle, reserves the nodes with most room when idle until they do: nothing behind it starts there. A stage that
// has waited so long for its queue's quota likewise keeps what is behind it in its queue back. One that could not start
// at all (no such nodes, more than the quota) reserves nothing.
//
// A gang is placed whole. A stage whose earlier attempt may still run on a node that is there waits for its end. One
// that was ready when an input turned out to be damaged waits until that is made again.
#include <algorithm>

#include "coordinator/sched/fit.h"
#include "coordinator/sched/step.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

json members_json(const std::vector<Member>& members) {
  json list = json::array();
  for (const Member& member : members) {
    list.push_back({{"node", member.node},
                    {"session", member.session},
                    {"ranks", member.ranks},
                    {"cores", member.cores},
                    {"memoryBytes", member.memory_bytes},
                    {"gpus", member.gpus}});
  }
  return list;
}

}  // namespace

// True if a stage failed because no node can ever run it: then others may have to be settled again.
bool Step::place() {
  reserved_.clear();
  full_queues_.clear();
  has_reserved_ = false;
  std::set<std::pair<Place, std::string>> heads;  // the first stage of every shape
  for (const auto& [shape, places] : scheduler_.state_.index.ready) heads.insert({*places.begin(), shape});
  bool failed = false;
  while (!heads.empty()) {
    const auto [place, shape] = *heads.begin();
    heads.erase(heads.begin());
    Run& run = *find_run(place.ref.run);
    const Placed placed = place_stage(run, run.stages[place.ref.stage]);
    failed = failed || placed == Placed::kFailed;
    if (placed == Placed::kShapeBlocked) continue;  // what has the same shape finds no room either
    const auto places = scheduler_.state_.index.ready.find(shape);
    if (places == scheduler_.state_.index.ready.end()) continue;
    const auto next = places->second.upper_bound(place);
    if (next != places->second.end()) heads.insert({*next, shape});
  }
  return failed;
}

// An input that was there when the stage became ready, was damaged, and has failed since.
const Stage* Step::lost_input(const Run& run, const Stage& stage) {
  for (const size_t index : stage.inputs) {
    const Stage& input = run.stages[index];
    if (is_over(input.state) && input.state != StageState::kSucceeded) return &input;
  }
  return nullptr;
}

// Whether something of the stage itself is in its way.
bool Step::must_wait(const Run& run, const Stage& stage) {
  for (const uint64_t epoch : stage.links.leases) {
    for (const Member& member : scheduler_.state_.leases.at(epoch).members) {
      const bool there = member.state == Member::State::kGranted || member.state == Member::State::kStarted;
      if (there && scheduler_.state_.nodes.at(member.node).alive) return true;
    }
  }
  const auto use = scheduler_.state_.index.keys.find(stage.key);
  if (use != scheduler_.state_.index.keys.end() && use->second.makers.size() > 1) {  // its run was paused meanwhile
    for (const StageRef& ref : use->second.makers) {
      if (find_run(ref.run)->stages[ref.stage].state == StageState::kRunning) return true;
    }
  }
  if ((!stage.fresh && stage.fresh_order.empty()) || stage.key.empty()) return false;
  for (const auto& [epoch, lease] : scheduler_.state_.leases) {  // its artifact is not emptied under a reader's feet
    const Run& other = run.id == lease.run ? run : *find_run(lease.run);
    for (const size_t input : other.stages[lease.stage].inputs) {
      if (other.stages[input].key == stage.key) return true;
    }
  }
  return false;
}

bool Step::over_quota(const Run& run, const Stage& stage) {
  const auto quota = scheduler_.state_.queues.find(run.pipeline.queue);
  if (quota == scheduler_.state_.queues.end()) return false;
  const Queue& limit = quota->second;
  const QueueUse& used = scheduler_.state_.index.queues[run.pipeline.queue];
  const spec::StagePlan& plan = stage.plan;
  const int64_t cores = int64_t{std::max(plan.cores, 1)} * plan.gang_ranks, gpus = plan.gpus_per_rank * plan.gang_ranks;
  const int64_t memory = plan.memory_bytes * plan.gang_ranks;
  const bool over = (limit.cores > 0 && used.cores + cores > limit.cores) ||
                    (limit.gpus > 0 && used.gpus + gpus > limit.gpus) ||
                    (limit.memory_bytes > 0 && used.memory_bytes + memory > limit.memory_bytes);
  const bool never = (limit.cores > 0 && cores > limit.cores) || (limit.gpus > 0 && gpus > limit.gpus) ||
                     (limit.memory_bytes > 0 && memory > limit.memory_bytes);
  const bool long_wait = now_ms_ - stage.queued_ms >= scheduler_.limits_.reserve_after_ms;
  if (over && !never && long_wait) full_queues_.insert(run.pipeline.queue);
  return over;
}

Step::Placed Step::place_stage(Run& run, Stage& stage) {
  if (const Stage* lost = lost_input(run, stage); lost != nullptr) {
    emit(RecordType::kStageFailed, run.id, stage.plan.name,
         {{"reason", "its input '" + lost->plan.name + "' was damaged and cannot be made again"}});
    return Placed::kFailed;
  }
  if (input_being_made(scheduler_.state_, run, stage) != nullptr || must_wait(run, stage)) return Placed::kSkipped;
  if (full_queues_.count(run.pipeline.queue) != 0 || over_quota(run, stage)) return Placed::kShapeBlocked;
  const int ranks = ranks_to_start(scheduler_.state_, stage, now_ms_);
  std::vector<Member> members;
  if (ranks > 0) members = fit(scheduler_.state_, stage.plan, ranks, reserved_);
  if (!members.empty()) {
    grant(run, stage, std::move(members));
    return Placed::kYes;
  }
  int64_t largest = 0;
  bool embedded = false;
  for (const auto& [name, node] : scheduler_.state_.nodes) {
    if (node.session != 0) {  // nodes come and go: it waits for one that can
      if (ranks > 0) reserve(run, stage);
      // A gang that waits for its own shrinking does not speak for the others of its shape.
      return stage.plan.gang_min_ranks < stage.plan.gang_ranks ? Placed::kSkipped : Placed::kShapeBlocked;
    }
    embedded = embedded || node.alive;
    if (node.alive) largest = std::max(largest, node.memory_bytes);
  }
  if (!embedded || stage.plan.memory_bytes <= largest) return Placed::kShapeBlocked;  // room will come
  emit(RecordType::kStageFailed, run.id, stage.plan.name,
       {{"reason", "it asks for " + std::to_string(stage.plan.memory_bytes >> 20) + " MiB of memory, and the largest " +
                       "node has " + std::to_string(largest >> 20) + " MiB: lower resources.memory"}});
  return Placed::kFailed;
}

void Step::reserve(const Run&, const Stage& stage) {
  if (has_reserved_ || now_ms_ - stage.queued_ms < scheduler_.limits_.reserve_after_ms) return;
  const int ranks = ranks_to_start(scheduler_.state_, stage, now_ms_);
  if (ranks == 0 || ranks_when_idle(scheduler_.state_, stage.plan, ranks) < ranks) return;
  std::vector<std::pair<int, std::string>> rooms;
  for (const auto& [name, node] : scheduler_.state_.nodes) {
    const int room = may_use(node, stage.plan) ? ranks_with_room(node, stage.plan, NodeUse{}) : 0;
    if (room > 0) rooms.emplace_back(-room, name);
  }
  std::sort(rooms.begin(), rooms.end());
  int left = ranks;
  for (const auto& [room, name] : rooms) {
    if (left <= 0) break;
    reserved_.insert(name);
    left += room;
  }
  has_reserved_ = true;
}

void Step::grant(Run& run, Stage& stage, std::vector<Member> members) {
  const uint64_t epoch = scheduler_.state_.last_epoch + 1;
  const bool embedded = members[0].session == 0;
  const std::string node = members[0].node;
  json body = {{"node", node},
               {"epoch", epoch},
               {"deadlineMs", stage.plan.timeout_ms > 0 ? now_ms_ + stage.plan.timeout_ms : 0},
               {"members", members_json(members)}};
  if (stage.fresh) body["fresh"] = true;
  if (!emit(RecordType::kAttemptGranted, run.id, stage.plan.name, std::move(body)) || !embedded) return;
  result_.actions.push_back(StartAttempt{run.id, stage.plan.name, node, stage.attempts.back().number, epoch,
                                         stage.fresh_order, stage.plan.cores});
}

}  // namespace gridquant::sched
