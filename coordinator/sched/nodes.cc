// Nodes and their agents: who is there, what runs on them, what should. See sync.h for the protocol.
#include <algorithm>

#include "coordinator/sched/step.h"

namespace gridquant::sched {
namespace {

bool same(const Node& node, const Inventory& inventory) {
  return node.cores == inventory.cores && node.memory_bytes == inventory.memory_bytes && node.gpus == inventory.gpus &&
         node.labels == inventory.labels;
}

Member* member_on(Lease& lease, const std::string& node) {
  for (Member& member : lease.members) {
    if (member.node == node && member.state != Member::State::kGone) return &member;
  }
  return nullptr;
}

// A worker knows its inputs by what they are to it ("calibrate", "quantize-part.00003"), a run by the stages that make
// them.
std::vector<std::string> stages_behind(const std::vector<std::string>& inputs, const spec::StagePlan& plan) {
  std::vector<std::string> stages;
  for (const std::string& input : inputs) {
    if (const auto found = plan.inputs.find(input); found != plan.inputs.end()) stages.push_back(found->second);
  }
  return stages;
}

// The others of a gang lend their slots only to a lease that they know: its head starts when all have said so.
bool waits_for_others(const Lease& lease, const Member& member) {
  if (&member != &lease.members[0] || !lease.stopping.empty()) return false;
  return std::any_of(lease.members.begin() + 1, lease.members.end(),
                     [](const Member& other) { return other.state == Member::State::kGranted; });
}

}  // namespace

Stage* Step::undecided(uint64_t epoch) {
  const auto lease = scheduler_.state_.leases.find(epoch);
  if (lease == scheduler_.state_.leases.end()) return nullptr;
  Run* run = find_run(lease->second.run);
  if (run == nullptr || is_over(run->state)) return nullptr;
  Stage& stage = run->stages[lease->second.stage];
  return stage.state == StageState::kRunning && stage.attempts.back().epoch == epoch ? &stage : nullptr;
}

void Step::touch_lease(uint64_t epoch) {
  const auto lease = scheduler_.state_.leases.find(epoch);
  if (lease == scheduler_.state_.leases.end()) return;
  for (const Member& member : lease->second.members) touched_.insert(member.node);
}

void Step::handle(const NodeReport& input) {
  if (input.node.empty()) return refuse("a node without a name", absl::StatusCode::kInvalidArgument);
  if (input.inventory.cores < 1 || input.inventory.gpus < 0 || input.inventory.gpus > 64) {
    return refuse("node " + input.node + " has no cores, or more than 64 GPUs", absl::StatusCode::kInvalidArgument);
  }
  const auto found = scheduler_.state_.nodes.find(input.node);
  const Node* node = found == scheduler_.state_.nodes.end() ? nullptr : &found->second;
  if (node != nullptr && node->session == 0) return refuse("node " + input.node + " is this process itself");
  const bool stranger = node != nullptr && !node->home.empty() && node->home != input.home;
  if (stranger && node->alive) {
    return refuse("another agent goes by the name of node " + input.node +
                  ": give this one a name of its own (--name), or stop the other one, wait until it counts as lost, "
                  "and start this one again");
  }
  if (node != nullptr && !stranger && input.boot < node->boot) {
    return refuse("an older agent of node " + input.node + ": a later one has taken its place");
  }
  touched_.insert(input.node);
  if (node == nullptr || stranger || input.boot > node->boot) return join(input, false);
  Scheduler::Heard& heard = scheduler_.heard_[input.node];
  const bool ours = input.session == node->session;  // if not, it has not been told its session yet
  if (ours && heard.session == input.session && input.seq <= heard.seq) {
    touched_.erase(input.node);
    return refuse("a report of node " + input.node + " that was overtaken", absl::StatusCode::kAborted);
  }
  heard.at_ms = now_ms_;
  if (!same(*node, input.inventory)) join(input, true);
  if (!node->alive && !input.leaving) emit(RecordType::kNodeBack, "", "", {{"node", input.node}});
  if (!ours) return;
  heard.session = input.session;
  heard.seq = input.seq;
  if (input.leaving && !node->leaving && node->alive) leave(input.node);
  reconcile(input);
  if (input.leaving && node->alive && node->used.leases.empty()) lose_node(input.node, "its agent was stopped");
}

// What still runs there is stopped by the agent itself and starts elsewhere, at no cost, like after a drain.
void Step::leave(const std::string& name) {
  emit(RecordType::kNodeLeaving, "", "", {{"node", name}});
  const std::set<uint64_t> leases = scheduler_.state_.nodes.at(name).used.leases;
  for (const uint64_t epoch : leases) {
    Stage* stage = undecided(epoch);
    if (stage == nullptr || !stage->attempts.back().stopping.empty()) continue;
    stop(scheduler_.state_.leases.at(epoch).run, *stage, "drained", scheduler_.limits_.stop_grace_ms);
    touch_lease(epoch);
  }
}

void Step::join(const NodeReport& input, bool again) {
  const uint64_t epoch = again ? scheduler_.state_.nodes.at(input.node).session : scheduler_.state_.last_epoch + 1;
  emit(RecordType::kNodeJoined, "", "",
       {{"node", input.node},
        {"epoch", epoch},
        {"home", input.home},
        {"boot", input.boot},
        {"cores", input.inventory.cores},
        {"memoryBytes", input.inventory.memory_bytes},
        {"gpus", input.inventory.gpus},
        {"labels", input.inventory.labels}});
  scheduler_.heard_[input.node].at_ms = now_ms_;
  if (again) return;
  const std::set<uint64_t> leases = scheduler_.state_.nodes.at(input.node).used.leases;
  for (const uint64_t lease : leases) lose_attempt(lease, "the agent of node " + input.node + " was started anew");
}

void Step::lose_node(const std::string& name, const std::string& why) {
  emit(RecordType::kNodeLost, "", "", {{"node", name}, {"reason", why}});
  const std::set<uint64_t> leases = scheduler_.state_.nodes.at(name).used.leases;
  for (const uint64_t epoch : leases) lose_attempt(epoch, "node " + name + " is lost: " + why);
}

void Step::reconcile(const NodeReport& input) {
  const std::set<uint64_t> leases = scheduler_.state_.nodes.at(input.node).used.leases;
  for (const uint64_t epoch : leases) {
    const auto report = std::find_if(input.attempts.begin(), input.attempts.end(),
                                     [&](const AttemptReport& one) { return one.epoch == epoch; });
    if (report != input.attempts.end()) {
      member_report(epoch, input, *report);
      continue;
    }
    const Member* member = member_on(scheduler_.state_.leases.at(epoch), input.node);
    if (member == nullptr) continue;
    if (member->session == input.session) {
      const auto sent = scheduler_.sent_.find({input.node, epoch});
      const bool knows =
          sent != scheduler_.sent_.end() && input.applied >= Revision{scheduler_.state_.incarnation, sent->second};
      if (!knows) continue;  // it has not heard of it yet
      lose_attempt(epoch, "node " + input.node + " does not know of it any more");
    }
    member_gone(epoch, input.node);  // a later agent process knows everything that is left of an earlier one
  }
}

void Step::member_report(uint64_t epoch, const NodeReport& input, const AttemptReport& report) {
  Lease& lease = scheduler_.state_.leases.at(epoch);
  Member* member = member_on(lease, input.node);
  if (member == nullptr || report.phase == Phase::kLaunching || report.phase == Phase::kStopping) return;
  if (report.phase == Phase::kRunning) {
    if (member->state == Member::State::kGranted && member->session == input.session) {
      member_started(epoch, input.node, report.pid);
    }
    return;
  }
  const std::string run = lease.run;
  const bool head = lease.members[0].node == input.node;
  if (report.phase == Phase::kDirty) {
    if (member->state == Member::State::kDirty) return;
    emit(RecordType::kSlotQuarantined, run, "", {{"epoch", epoch}, {"node", input.node}});
    return lose_attempt(epoch, "what runs on node " + input.node + " cannot be ended");
  }
  if (Stage* stage = undecided(epoch); stage != nullptr && (head || report.exit_code != 0)) {
    AttemptFinished finished{.run = run, .stage = stage->plan.name, .epoch = epoch};
    finished.exit_code = report.exit_code;
    finished.failure = failure_class_for(report.exit_code);
    finished.error_code = report.error_code;
    finished.message = report.message.empty() && report.exit_code != 0
                           ? "exit code " + std::to_string(report.exit_code) + " on node " + input.node
                           : report.message;
    finished.summary = report.summary;
    finished.corrupt_inputs = stages_behind(report.corrupt_inputs, stage->plan);
    handle(finished);
  }
  member_gone(epoch, input.node);
}

// One record when a single member, or the last one, has started.
void Step::member_started(uint64_t epoch, const std::string& node, int64_t pid) {
  const Lease& lease = scheduler_.state_.leases.at(epoch);
  const auto waiting = std::count_if(lease.members.begin(), lease.members.end(),
                                     [](const Member& member) { return member.state == Member::State::kGranted; });
  Stage* stage = undecided(epoch);
  const bool head = lease.members[0].node == node;  // whose process is the attempt's
  if (stage == nullptr || waiting > 1 || stage->attempts.back().started_ms != 0) {
    nlohmann::json body = {{"epoch", epoch}, {"node", node}};
    if (head) body["pid"] = pid;
    emit(RecordType::kMemberStarted, lease.run, "", std::move(body));
  } else {
    const int64_t of_head = head ? pid : stage->attempts.back().pid;
    emit(RecordType::kAttemptStarted, lease.run, stage->plan.name, {{"epoch", epoch}, {"pid", of_head}});
  }
}

void Step::member_gone(uint64_t epoch, const std::string& node) {
  const auto lease = scheduler_.state_.leases.find(epoch);
  if (lease == scheduler_.state_.leases.end()) return;
  emit(RecordType::kMemberGone, std::string(lease->second.run), "", {{"epoch", epoch}, {"node", node}});
  scheduler_.sent_.erase({node, epoch});
}

void Step::sync_nodes() {
  for (const std::string& name : touched_) {
    const auto node = scheduler_.state_.nodes.find(name);
    if (node == scheduler_.state_.nodes.end() || node->second.session == 0 || !node->second.alive) continue;
    result_.actions.push_back(SyncNode{desired(name)});
  }
}

DesiredState Step::desired(const std::string& name) {
  const Node& node = scheduler_.state_.nodes.at(name);
  DesiredState state{.node = name, .boot = node.boot, .session = node.session};
  state.revision = {scheduler_.state_.incarnation, ++scheduler_.revision_};
  for (const uint64_t epoch : node.used.leases) {
    Lease& lease = scheduler_.state_.leases.at(epoch);
    const Member* member = member_on(lease, name);
    // Of an earlier agent process: by not being listed, what is left of it is ended.
    if (member == nullptr || member->session != node.session || waits_for_others(lease, *member)) continue;
    const Stage& stage = find_run(lease.run)->stages[lease.stage];
    DesiredAttempt attempt{.epoch = epoch, .run = lease.run, .stage = stage.plan.name};
    attempt.key = stage.key;
    for (const Attempt& one : stage.attempts) {
      if (one.epoch == epoch) attempt.number = one.number;
    }
    attempt.head = member == &lease.members[0];
    attempt.stopping = lease.stopping;
    attempt.grace_ms = lease.grace_ms;
    attempt.ranks = member->ranks;
    attempt.cores = member->cores;
    attempt.memory_bytes = member->memory_bytes;
    attempt.gpus = member->gpus;
    if (attempt.head) {
      for (const Member& one : lease.members) attempt.hosts.emplace_back(one.node, one.ranks);
    }
    scheduler_.sent_.try_emplace({name, epoch}, state.revision.number);
    state.attempts.push_back(std::move(attempt));
  }
  return state;
}

}  // namespace gridquant::sched
