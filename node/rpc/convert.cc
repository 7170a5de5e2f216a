// See convert.h.
#include "node/rpc/convert.h"

#include <utility>

namespace gridquant::node {
namespace {

v1::Phase to_proto(sched::Phase phase) {
  switch (phase) {
    case sched::Phase::kLaunching:
      return v1::PHASE_LAUNCHING;
    case sched::Phase::kRunning:
      return v1::PHASE_RUNNING;
    case sched::Phase::kStopping:
      return v1::PHASE_STOPPING;
    case sched::Phase::kFinished:
      return v1::PHASE_FINISHED;
    case sched::Phase::kDirty:
      return v1::PHASE_DIRTY;
  }
  return v1::PHASE_UNSPECIFIED;
}

// Text of processes may be anything; the protocol's strings are UTF-8.
std::string valid_utf8(const std::string& text) {
  const std::string quoted = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

void fill(const sched::AttemptReport& report, v1::AttemptReport& to) {
  to.set_epoch(report.epoch);
  to.set_phase(to_proto(report.phase));
  to.set_pid(report.pid);
  to.set_exit_code(report.exit_code);
  to.set_error_code(valid_utf8(report.error_code));
  to.set_message(valid_utf8(report.message));
  if (!report.summary.empty()) {
    to.set_summary_json(report.summary.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  for (const std::string& input : report.corrupt_inputs) to.add_corrupt_inputs(input);
}

sched::DesiredAttempt attempt_from_proto(const v1::DesiredAttempt& attempt) {
  sched::DesiredAttempt to{.epoch = attempt.epoch(), .run = attempt.run(), .stage = attempt.stage()};
  to.key = attempt.key();
  to.number = attempt.number();
  to.head = attempt.head();
  to.stopping = attempt.stopping();
  to.grace_ms = attempt.grace_ms();
  to.ranks = attempt.ranks();
  to.cores = attempt.cores();
  to.memory_bytes = attempt.memory_bytes();
  to.gpus = attempt.gpus();
  for (const v1::GangHost& host : attempt.hosts()) to.hosts.emplace_back(host.node(), host.ranks());
  return to;
}

AttemptTask task_of(const v1::DesiredAttempt& attempt) {
  AttemptTask task{.task_json = attempt.task_json(), .log_name = attempt.log_name()};
  for (const v1::GangHost& host : attempt.hosts()) task.addresses.push_back(host.agent_address());
  task.secret = attempt.lease_secret();
  task.store = attempt.store();
  task.store_id = attempt.store_id();
  return task;
}

}  // namespace

v1::NodeReport to_proto(const sched::NodeReport& report, const NodeFacts& facts) {
  v1::NodeReport to;
  to.set_node(report.node);
  to.set_home(facts.home);
  to.set_leaving(report.leaving);
  to.set_boot(report.boot);
  to.set_session(report.session);
  to.set_sequence(report.seq);
  to.mutable_applied()->set_incarnation(report.applied.incarnation);
  to.mutable_applied()->set_number(report.applied.number);
  v1::Inventory& inventory = *to.mutable_inventory();
  inventory.set_cores(report.inventory.cores);
  inventory.set_memory_bytes(report.inventory.memory_bytes);
  inventory.set_gpus(report.inventory.gpus);
  for (const auto& [name, value] : report.inventory.labels) (*inventory.mutable_labels())[name] = value;
  inventory.set_agent_address(facts.agent_address);
  inventory.set_version(facts.version);
  inventory.set_cpu_model(valid_utf8(facts.cpu_model));
  inventory.set_cpu_kind(facts.cpu_kind);
  for (const std::string& type : facts.compute_types) inventory.add_compute_types(type);
  for (const sched::AttemptReport& attempt : report.attempts) fill(attempt, *to.add_attempts());
  return to;
}

v1::LogChunk to_proto(LogPiece piece) {
  v1::LogChunk to;
  to.set_epoch(piece.epoch);
  to.set_log_name(std::move(piece.log_name));
  to.set_offset(piece.offset);
  to.set_data(std::move(piece.data));
  to.set_last(piece.last);
  return to;
}

v1::AttemptProgress to_proto(const AttemptProgress& progress) {
  v1::AttemptProgress to;
  to.set_epoch(progress.epoch);
  to.set_run(progress.run);
  to.set_stage(progress.stage);
  to.set_done(progress.event.done);
  to.set_total(progress.event.total);
  to.set_unit(valid_utf8(progress.event.unit));
  to.set_message(valid_utf8(progress.event.message));
  to.set_kind(name_of(progress.event.kind));
  return to;
}

Desired from_proto(const v1::DesiredState& state) {
  Desired to;
  to.state.node = state.node();
  to.state.boot = state.boot();
  to.state.session = state.session();
  to.state.revision = {state.revision().incarnation(), state.revision().number()};
  for (const v1::DesiredAttempt& attempt : state.attempts()) {
    to.state.attempts.push_back(attempt_from_proto(attempt));
    to.tasks[attempt.epoch()] = task_of(attempt);
  }
  return to;
}

}  // namespace gridquant::node
