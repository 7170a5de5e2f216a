// Nodes, their reports and desired states.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "coordinator/control/labels.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/limits.h"

namespace gridquant::rpc {
namespace {

using nlohmann::json;

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
  return text;
}

Status check_node_name(const std::string& name) {
  const auto fits = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
  };
  if (!name.empty() && name.size() <= kMaxNodeName && std::all_of(name.begin(), name.end(), fits)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("the name of a node has 1 to " + std::to_string(kMaxNodeName) +
                                    " letters, digits, '.', '-' and '_', unlike '" + name + "' (--name)");
}

StatusOr<sched::Inventory> inventory_from(const v1::Inventory& from) {
  sched::Inventory to{.cores = from.cores(), .memory_bytes = from.memory_bytes(), .gpus = from.gpus(), .labels = {}};
  if (static_cast<size_t>(from.labels().size()) > kMaxLabels) {
    return absl::InvalidArgumentError("more than " + std::to_string(kMaxLabels) + " labels");
  }
  for (const auto& [key, value] : from.labels()) {
    if (key.starts_with(control::kOwnLabels)) {
      return absl::InvalidArgumentError("the label " + key + " is the coordinator's own: choose another prefix than " +
                                        control::kOwnLabels);
    }
    to.labels[key] = value;
  }
  to.labels[control::kCpuKind] = from.cpu_kind();
  to.labels[control::kCpuModel] = from.cpu_model();
  to.labels[control::kComputeTypes] = joined(from.compute_types());
  to.labels[control::kAgentAddress] = from.agent_address();
  to.labels[control::kVersion] = from.version();
  return to;
}

void inventory_to(const sched::Node& from, v1::Inventory& to) {
  to.set_cores(from.cores);
  to.set_memory_bytes(from.memory_bytes);
  to.set_gpus(from.gpus);
  for (const auto& [key, value] : from.labels) {
    if (key == control::kCpuKind) {
      to.set_cpu_kind(value);
    } else if (key == control::kCpuModel) {
      to.set_cpu_model(value);
    } else if (key == control::kAgentAddress) {
      to.set_agent_address(value);
    } else if (key == control::kVersion) {
      to.set_version(value);
    } else if (key == control::kComputeTypes) {
      for (size_t start = 0; start < value.size();) {
        const size_t end = std::min(value.find(',', start), value.size());
        to.add_compute_types(value.substr(start, end - start));
        start = end + 1;
      }
    } else {
      (*to.mutable_labels())[key] = value;
    }
  }
}

StatusOr<sched::AttemptReport> attempt_from(const v1::AttemptReport& from) {
  sched::AttemptReport to{.epoch = from.epoch(), .pid = from.pid(), .exit_code = from.exit_code()};
  switch (from.phase()) {
    case v1::PHASE_LAUNCHING:
      to.phase = sched::Phase::kLaunching;
      break;
    case v1::PHASE_RUNNING:
      to.phase = sched::Phase::kRunning;
      break;
    case v1::PHASE_STOPPING:
      to.phase = sched::Phase::kStopping;
      break;
    case v1::PHASE_FINISHED:
      to.phase = sched::Phase::kFinished;
      break;
    case v1::PHASE_DIRTY:
      to.phase = sched::Phase::kDirty;
      break;
    default:
      return absl::InvalidArgumentError("attempt " + std::to_string(from.epoch()) + " is in no known phase");
  }
  to.error_code = from.error_code();
  to.message = from.message();
  if (!from.summary_json().empty()) {
    to.summary = json::parse(from.summary_json(), nullptr, /*allow_exceptions=*/false);
    if (!to.summary.is_object()) return absl::InvalidArgumentError("a summary is no JSON object");
  }
  to.corrupt_inputs.assign(from.corrupt_inputs().begin(), from.corrupt_inputs().end());
  return to;
}

void assignment_to(const control::Assignment& from, v1::DesiredAttempt& to) {
  const sched::DesiredAttempt& desired = from.desired;
  to.set_epoch(desired.epoch);
  to.set_run(desired.run);
  to.set_stage(desired.stage);
  to.set_key(desired.key);
  to.set_number(desired.number);
  to.set_head(desired.head);
  to.set_stopping(desired.stopping);
  to.set_grace_ms(desired.grace_ms);
  to.set_ranks(desired.ranks);
  to.set_cores(desired.cores);
  to.set_memory_bytes(desired.memory_bytes);
  to.set_gpus(desired.gpus);
  for (const control::GangHost& host : from.hosts) {
    v1::GangHost& one = *to.add_hosts();
    one.set_node(host.node);
    one.set_ranks(host.ranks);
    one.set_agent_address(host.agent_address);
  }
  to.set_task_json(from.task_json);
  to.set_log_name(from.log_name);
  to.set_lease_secret(from.lease_secret);
  to.set_head_node(from.head_node);
  to.set_store(from.store);
  to.set_store_id(from.store_id);
}

}  // namespace

void to_proto(const sched::State& state, const std::string& name, int64_t heard_ms, v1::Node& to) {
  const sched::Node& node = state.nodes.at(name);
  to.set_name(name);
  inventory_to(node, *to.mutable_inventory());
  to.set_alive(node.alive);
  to.set_draining(node.draining);
  to.set_leaving(node.leaving);
  to.set_drain_deadline_ms(node.drain_deadline_ms);
  to.set_session(node.session);
  to.set_last_heard_ms(heard_ms);
  to.set_cores_used(node.used.cores);
  to.set_memory_bytes_used(node.used.memory_bytes);
  to.set_gpus_used(node.used.gpus);
  for (const uint64_t epoch : node.used.leases) {
    const sched::Lease& lease = state.leases.at(epoch);
    for (const sched::Member& member : lease.members) {
      if (member.node != name) continue;
      v1::NodeAttempt& attempt = *to.add_attempts();
      attempt.set_epoch(epoch);
      attempt.set_run(lease.run);
      attempt.set_stage(state.runs.at(lease.run).stages[lease.stage].plan.name);
      attempt.set_ranks(member.ranks);
      attempt.set_dirty(member.state == sched::Member::State::kDirty);
    }
  }
}

void to_proto(const control::AssignedState& from, v1::DesiredState& to) {
  to.set_node(from.desired.node);
  to.set_boot(from.desired.boot);
  to.set_session(from.desired.session);
  to.mutable_revision()->set_incarnation(from.desired.revision.incarnation);
  to.mutable_revision()->set_number(from.desired.revision.number);
  for (const control::Assignment& attempt : from.attempts) assignment_to(attempt, *to.add_attempts());
}

StatusOr<sched::NodeReport> from_proto(const v1::NodeReport& from) {
  sched::NodeReport to{.node = from.node(), .home = from.home(), .boot = from.boot(), .session = from.session()};
  to.seq = from.sequence();
  to.leaving = from.leaving();
  GQ_RETURN_IF_ERROR(check_node_name(to.node));
  to.applied = {from.applied().incarnation(), from.applied().number()};
  GQ_ASSIGN_OR_RETURN(to.inventory, inventory_from(from.inventory()));
  if (static_cast<size_t>(from.attempts().size()) > kMaxAttemptsInReport) {
    return absl::InvalidArgumentError("more than " + std::to_string(kMaxAttemptsInReport) + " attempts in a report");
  }
  for (const v1::AttemptReport& attempt : from.attempts()) {
    GQ_ASSIGN_OR_RETURN(sched::AttemptReport one, attempt_from(attempt));
    to.attempts.push_back(std::move(one));
  }
  return to;
}

}  // namespace gridquant::rpc
