// Runs, stages, attempts, events.
#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/errors.h"
#include "coordinator/store/workdir.h"

namespace gridquant::rpc {
namespace {

using nlohmann::json;

std::string dump(const json& value) {
  return value.is_null() || (value.is_object() && value.empty())
             ? std::string()
             : value.dump(-1, ' ', false, json::error_handler_t::replace);
}

void attempt_to_proto(const sched::Attempt& from, v1::Attempt& to) {
  to.set_number(from.number);
  to.set_epoch(from.epoch);
  to.set_node(from.node);
  to.set_ranks(from.ranks);
  to.set_granted_ms(from.granted_ms);
  to.set_started_ms(from.started_ms);
  to.set_finished_ms(from.finished_ms);
  to.set_pid(from.pid);
  to.set_stopping(from.stopping);
  to.set_outcome(from.outcome);
  to.set_exit_code(from.exit_code);
  to.set_error_code(utf8(from.error_code));
  to.set_message(utf8(from.message));
}

void stage_to_proto(const sched::Stage& from, const std::string& store, v1::Stage& to) {
  to.set_name(from.plan.name);
  to.set_uses(from.plan.uses);
  to.set_state(to_proto(from.state));
  to.set_reason(utf8(from.reason));
  to.set_cached(from.cached);
  to.set_key(from.key);
  for (const std::string& need : from.plan.needs) to.add_needs(need);
  to.set_since_ms(from.since_ms);
  to.set_not_before_ms(from.state == sched::StageState::kWaiting ? from.not_before_ms : 0);
  to.set_summary_json(dump(from.summary));
  to.set_cache_note_json(dump(from.cache_note));
  for (const sched::Attempt& attempt : from.attempts) attempt_to_proto(attempt, *to.add_attempts());
  to.set_artifact_folder(store::artifact_folder(store, from.plan.uses, from.key));
}

v1::DeliveryState delivery_to_proto(sched::Delivery delivery) {
  switch (delivery) {
    case sched::Delivery::kNone:
      return v1::DELIVERY_STATE_UNSPECIFIED;
    case sched::Delivery::kPending:
      return v1::DELIVERY_STATE_PENDING;
    case sched::Delivery::kDone:
      return v1::DELIVERY_STATE_DONE;
    case sched::Delivery::kFailed:
      return v1::DELIVERY_STATE_FAILED;
  }
  return v1::DELIVERY_STATE_UNSPECIFIED;
}

// Their order is the same in both, from 1 here: the tests compare every name.
v1::RunState run_state_of(const char* name) {
  for (int state = 0; name != nullptr && state <= static_cast<int>(sched::RunState::kInterrupted); ++state) {
    if (std::string(sched::name_of(static_cast<sched::RunState>(state))) == name) {
      return static_cast<v1::RunState>(state + 1);
    }
  }
  return v1::RUN_STATE_UNSPECIFIED;
}

v1::StageState stage_state_of(const char* name) {
  for (int state = 0; name != nullptr && state <= static_cast<int>(sched::StageState::kCancelled); ++state) {
    if (std::string(sched::name_of(static_cast<sched::StageState>(state))) == name) {
      return static_cast<v1::StageState>(state + 1);
    }
  }
  return v1::STAGE_STATE_UNSPECIFIED;
}

}  // namespace

v1::RunState to_proto(sched::RunState state) {
  return static_cast<v1::RunState>(static_cast<int>(state) + 1);
}

v1::StageState to_proto(sched::StageState state) {
  return static_cast<v1::StageState>(static_cast<int>(state) + 1);
}

void to_proto(const sched::Run& from, v1::Run& to) {
  to.set_id(from.id);
  to.set_pipeline(from.pipeline.name);
  to.set_state(to_proto(from.state));
  to.set_reason(utf8(from.reason));
  to.set_paused(from.paused);
  to.set_batch(from.batch);
  to.set_retry_of(from.retry_of);
  to.set_created_ms(from.created_ms);
  to.set_started_ms(from.started_ms);
  to.set_finished_ms(from.finished_ms);
  to.set_queue(from.pipeline.queue);
  to.set_priority(from.pipeline.priority);
  for (const auto& [key, value] : from.pipeline.labels) (*to.mutable_labels())[key] = value;
  to.set_params_json(dump(from.pipeline.params));
  if (from.options.is_object()) to.set_output(from.options.value("output", ""));
  to.set_delivery(delivery_to_proto(from.delivery));
  to.set_delivery_error(utf8(from.delivery_error));
  to.set_last_sequence(from.events);
  to.set_stages_over(static_cast<int>(from.stages.size() - from.open_stages));
  to.set_stages_total(static_cast<int>(from.stages.size()));
}

void stages_to_proto(const sched::Run& from, const std::string& store, v1::Run& to) {
  for (const sched::Stage& stage : from.stages) stage_to_proto(stage, store, *to.add_stages());
}

void to_proto(const sched::Record& from, v1::Event& to) {
  to.set_sequence(from.seq);
  to.set_at_ms(from.at_ms);
  to.set_type(name_of(from.type));
  to.set_stage(from.stage);
  to.set_body_json(dump(from.body));
  to.set_run_state(run_state_of(sched::run_state_after(from)));
  to.set_stage_state(stage_state_of(sched::stage_state_after(from)));
}

void to_proto(const control::Note& from, v1::Progress& to) {
  to.set_stage(from.stage);
  to.set_attempt(from.attempt);
  to.set_done(from.done);
  to.set_total(from.total);
  to.set_unit(from.unit);
  to.set_message(from.message);
  to.set_kind(from.kind);
}

}  // namespace gridquant::rpc
