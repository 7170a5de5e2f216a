// See assign.h.
#include "coordinator/control/assign.h"

#include <algorithm>

#include "coordinator/control/labels.h"
#include "coordinator/store/workdir.h"
#include "engine/base/digest.h"
#include "stages/task.h"

namespace gridquant::control {
namespace {

// HMAC would be the textbook's way; two nested digests with a secret of fixed length are as good a function.
std::string lease_secret(const std::string& secret, uint64_t epoch) {
  return base::digest_of(secret + base::digest_of(secret + ":lease:" + std::to_string(epoch)));
}

std::string label_of(const sched::State& state, const std::string& node, const char* label) {
  const auto found = state.nodes.find(node);
  if (found == state.nodes.end()) return "";
  const auto value = found->second.labels.find(label);
  return value == found->second.labels.end() ? "" : value->second;
}

// Of one rank: every rank of a gang reads the same task file, so the least that any of them has.
int threads_of(const sched::State& state, const sched::Lease& lease) {
  int threads = 0;
  for (const sched::Member& member : lease.members) {
    const auto node = state.nodes.find(member.node);
    const int cores = member.cores > 0 ? member.cores : node != state.nodes.end() ? node->second.cores : 1;
    const int each = std::max(1, cores / std::max(1, member.ranks));
    threads = threads == 0 ? each : std::min(threads, each);
  }
  return threads;
}

std::string task_json(const sched::State& state, const sched::Run& run, const sched::Stage& stage,
                      const sched::Lease& lease, const sched::DesiredAttempt& desired, const std::string& store) {
  const auto artifact_of = [&](const sched::Stage& of) { return store::artifact_folder(store, of.plan.uses, of.key); };
  stages::Task task{.run = run.id,
                    .stage = stage.plan.name,
                    .uses = stage.plan.uses,
                    .attempt = desired.number,
                    .key = stage.key,
                    .with = stage.plan.with,
                    .inputs = {},
                    .artifact = artifact_of(stage),
                    .fresh = lease.fresh};
  task.threads = threads_of(state, lease);
  for (const auto& [uses, name] : stage.plan.inputs) task.inputs[uses] = artifact_of(run.stages[run.index.at(name)]);
  return to_json(task).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string log_name_of(const std::string& run, const std::string& stage, int attempt) {
  return run + "/" + stage + "/attempt-" + std::to_string(attempt);
}

AssignedState assign(const sched::State& state, sched::DesiredState desired, const AssignOptions& options) {
  AssignedState out;
  for (sched::DesiredAttempt& attempt : desired.attempts) {
    const auto lease = state.leases.find(attempt.epoch);
    const auto run = state.runs.find(attempt.run);
    if (lease == state.leases.end() || run == state.runs.end()) continue;
    Assignment one;
    one.head_node = lease->second.members[0].node;
    one.lease_secret = lease_secret(options.secret, attempt.epoch);
    one.store = options.store;
    one.store_id = options.store_id;
    if (attempt.head) {
      const sched::Stage& stage = run->second.stages[lease->second.stage];
      for (const auto& [node, ranks] : attempt.hosts)
        one.hosts.push_back({node, ranks, label_of(state, node, kAgentAddress)});
      one.task_json = task_json(state, run->second, stage, lease->second, attempt, options.store);
      one.log_name = log_name_of(attempt.run, attempt.stage, attempt.number);
    }
    one.desired = std::move(attempt);
    out.attempts.push_back(std::move(one));
  }
  desired.attempts.clear();
  out.desired = std::move(desired);
  return out;
}

}  // namespace gridquant::control
