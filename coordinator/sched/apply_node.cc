// Records about nodes, and about what single nodes do for a lease.
#include <algorithm>

#include "coordinator/sched/links.h"

namespace gridquant::sched {
namespace {

void set_inventory(Node& node, const nlohmann::json& body) {
  node.cores = body.value("cores", 1);
  node.memory_bytes = body.value("memoryBytes", int64_t{0});
  node.gpus = body.value("gpus", 0);
  node.labels = body.value("labels", std::map<std::string, std::string>());
}

Status apply_joined(State& state, const std::string& name, const Record& record) {
  const uint64_t session = record.body.at("epoch").get<uint64_t>();
  const auto known = state.nodes.find(name);
  const bool same = known != state.nodes.end() && known->second.session == session;
  if (!same && session <= state.last_epoch) return refuse(record, "its epoch was given before");
  Node& node = state.nodes[name];
  set_inventory(node, record.body);
  node.home = record.body.value("home", "");
  node.boot = record.body.value("boot", int64_t{0});
  node.session = session;
  node.alive = true;
  if (!same) node.leaving = false;
  if (!same) state.last_epoch = session;
  return absl::OkStatus();
}

}  // namespace

Status apply_node(State& state, const Record& record) {
  if (record.type == RecordType::kIncarnation) {
    const uint64_t epoch = record.body.at("epoch").get<uint64_t>();
    if (epoch <= state.last_epoch) return refuse(record, "its epoch was given before");
    state.last_epoch = state.incarnation = epoch;
    state.last_run = std::max(state.last_run, record.body.value("lastRun", uint64_t{0}));
    return absl::OkStatus();
  }
  const std::string name = record.body.at("node").get<std::string>();
  if (record.type == RecordType::kNodeJoined) return apply_joined(state, name, record);
  if (record.type == RecordType::kNodeChanged) {
    Node& node = state.nodes[name];
    set_inventory(node, record.body);
    node.alive = record.body.value("alive", true);
    return absl::OkStatus();
  }
  const auto found = state.nodes.find(name);
  if (found == state.nodes.end()) return refuse(record, "no such node");
  Node& node = found->second;
  switch (record.type) {
    case RecordType::kNodeLost:
      node.alive = false;
      break;
    case RecordType::kNodeBack:
      node.alive = true;
      break;
    case RecordType::kNodeLeaving:
      node.leaving = true;
      break;
    case RecordType::kNodeForgotten:
      if (node.alive || !node.used.leases.empty()) return refuse(record, "it is there, or holds something");
      state.nodes.erase(found);
      break;
    case RecordType::kNodeDraining:
      node.draining = true;
      node.drain_deadline_ms = record.body.value("deadlineMs", Tick{0});
      break;
    default:
      node.draining = false;
      node.drain_deadline_ms = 0;
  }
  return absl::OkStatus();
}

namespace {

void set_pid(State& state, const Lease& lease, uint64_t epoch, int64_t pid) {
  const auto run = state.runs.find(lease.run);
  if (run == state.runs.end()) return;
  for (Attempt& attempt : run->second.stages[lease.stage].attempts) {
    if (attempt.epoch == epoch) attempt.pid = pid;
  }
}

}  // namespace

Status apply_member(State& state, const Record& record) {
  const std::string name = record.body.at("node").get<std::string>();
  const uint64_t epoch = record.body.at("epoch").get<uint64_t>();
  const auto lease = state.leases.find(epoch);
  if (lease == state.leases.end()) return refuse(record, "no such lease");
  for (Member& member : lease->second.members) {
    if (member.node != name || member.state == Member::State::kGone) continue;
    if (record.type == RecordType::kMemberGone) {
      let_go(state, epoch, name);
    } else {
      member.state = record.type == RecordType::kMemberStarted ? Member::State::kStarted : Member::State::kDirty;
      if (record.body.contains("pid")) set_pid(state, lease->second, epoch, record.body.at("pid").get<int64_t>());
    }
    return absl::OkStatus();
  }
  return refuse(record, "nothing of it is on " + name);
}

}  // namespace gridquant::sched
