// A turn: inputs, one transaction, then everything that follows from it.
#include "coordinator/control/core.h"

#include <algorithm>
#include <set>

#include "coordinator/control/artifacts.h"
#include "coordinator/spec/spec.h"
#include "coordinator/store/workdir.h"
#include "engine/base/log.h"

namespace gridquant::control {

using nlohmann::json;

namespace {

std::string text_of(const sched::Record& record) {
  return to_json(record).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

Core::Core(const Seams& seams, CoreOptions options)
    : seams_(seams),
      options_(std::move(options)),
      scheduler_(spec::evaluate_condition, options_.limits),
      deliveries_(seams.executor) {}

Status Core::recover() {
  std::vector<sched::Record> records;
  const Status read = seams_.store.each_record([&](const std::string& text) -> Status {
    GQ_ASSIGN_OR_RETURN(sched::Record record, sched::record_from_json(json::parse(text, nullptr, false)));
    records.push_back(std::move(record));
    return absl::OkStatus();
  });
  GQ_RETURN_IF_ERROR(annotate(read, "the coordinator's records cannot be read"));
  GQ_ASSIGN_OR_RETURN(scheduler_, sched::Scheduler::replay(records, spec::evaluate_condition, options_.limits));
  replayed_ = records.size();
  // Never behind what is recorded, whatever was done to the machine's clock meanwhile.
  int64_t now = seams_.clock.wall_ms();
  for (const sched::Record& record : records) now = std::max(now, record.at_ms);
  wall_minus_monotonic_ms_ = now - seams_.clock.monotonic_ms();
  Group group;
  // Agents outlive a state that is removed, or replaced by an older copy of it, and believe only what is later than
  // what they were told last.
  Request restarted{sched::Restarted{.first_epoch = static_cast<uint64_t>(now), .last_run = options_.last_run},
                    nullptr};
  step(restarted, group);
  GQ_RETURN_IF_ERROR(commit(group));
  publish(group);
  return absl::OkStatus();
}

int64_t Core::now_ms() const {
  return seams_.clock.monotonic_ms() + wall_minus_monotonic_ms_;
}

void Core::step(Request& request, Group& group) {
  const auto* report = std::get_if<sched::NodeReport>(&request.input);
  sched::StepResult result = scheduler_.step(request.input, now_ms());
  if (report != nullptr && (result.refused.empty() || result.refused_code == absl::StatusCode::kAborted)) {
    heard_ms_[report->node] = now_ms();
    if (request.sink != nullptr) sinks_[report->node] = std::move(request.sink);
  }
  StatusOr<std::string> outcome =
      result.refused.empty() ? StatusOr<std::string>("") : Status(result.refused_code, result.refused);
  for (const sched::Action& action : result.actions) {
    const auto* answer = std::get_if<sched::Answer>(&action);
    if (answer == nullptr) continue;
    outcome = answer->error.empty() ? StatusOr<std::string>(answer->result) : Status(answer->code, answer->error);
  }
  if (request.done) group.answers.emplace_back(std::move(request.done), std::move(outcome));
  std::move(result.records.begin(), result.records.end(), std::back_inserter(group.records));
  std::move(result.actions.begin(), result.actions.end(), std::back_inserter(group.actions));
}

void Core::take(Item& item, Group& group, std::vector<Item>& later) {
  if (auto* request = std::get_if<Request>(&item)) {
    step(*request, group);
  } else if (auto* note = std::get_if<Note>(&item)) {
    const sched::Run* run = scheduler_.find_run(note->run);
    const auto stage = run == nullptr ? 0 : run->index.count(note->stage);
    if (stage == 0 || is_over(run->state)) return;
    note->attempt = static_cast<int>(run->stages[run->index.at(note->stage)].attempts.size());
    group.noted.push_back(note->run);
    watch_.note(std::move(*note));
  } else if (const auto* hung_up = std::get_if<HungUp>(&item)) {
    const auto sink = sinks_.find(hung_up->node);
    if (sink != sinks_.end() && sink->second.get() == hung_up->sink) sinks_.erase(sink);
  } else {
    later.push_back(std::move(item));  // sees what is durable
  }
}

Status Core::turn() {
  std::vector<Item> items;
  {
    absl::MutexLock lock(&mutex_);
    GQ_RETURN_IF_ERROR(ended_);
    items.swap(inbox_);
    woken_ = false;
  }
  Group group;
  std::vector<Item> later;
  for (Item& item : items) take(item, group, later);
  if (const auto due = scheduler_.next_timer_ms(); due && *due <= now_ms()) {
    Request timer{sched::TimerFired{}, nullptr};
    step(timer, group);
  }
  if (const Status committed = commit(group); !committed.ok()) {
    for (const auto& [done, outcome] : group.answers) done(absl::UnavailableError(std::string(committed.message())));
    refuse(later, committed);
    stop(committed);
    return committed;
  }
  publish(group);
  for (Item& item : later) {
    if (const auto* look = std::get_if<Look>(&item)) {
      look->with({scheduler_, seams_.store, now_ms(), heard_ms_});
    } else if (auto* asked = std::get_if<Asked>(&item)) {
      watch_.ask(asked->id, std::move(asked->call), scheduler_, seams_.store);
    } else if (const auto* dropped = std::get_if<Dropped>(&item)) {
      watch_.drop(dropped->id);
    }
  }
  return absl::OkStatus();
}

Status Core::commit(const Group& group) {
  if (group.records.empty()) return absl::OkStatus();
  store::Batch batch;
  std::set<std::string> runs;
  for (const sched::Record& record : group.records) {
    if (record.type == sched::RecordType::kRunDeleted) {
      const auto [mark, last] = sched::remains_of(record);
      batch.records.push_back({record.run, text_of(last)});
      batch.erased.push_back({record.run, text_of(mark)});
      continue;
    }
    batch.records.push_back({record.run, text_of(record)});
    const sched::Run* run = scheduler_.find_run(record.run);
    if (run == nullptr) continue;
    if (sched::run_state_after(record) != nullptr) runs.insert(record.run);
    if (record.type != sched::RecordType::kAttemptFinished || record.body.value("outcome", "") != "succeeded") continue;
    const sched::Stage& stage = run->stages[run->index.at(record.stage)];
    batch.artifacts.push_back({stage.key, stage.plan.uses, record.stage, record.run, record.at_ms,
                               stage.cache_note.is_object() ? stage.cache_note.value("components", json()) : json()});
  }
  for (const std::string& id : runs) {
    const sched::Run& run = *scheduler_.find_run(id);
    batch.runs.push_back({id, run.pipeline.name, name_of(run.state), run.created_ms, run.finished_ms});
  }
  return annotate(seams_.store.commit(batch), "the coordinator's state cannot be saved");
}

void Core::publish(Group& group) {
  std::set<std::string> nodes;  // the last desired state of each node says all
  for (auto action = group.actions.rbegin(); action != group.actions.rend(); ++action) {
    auto* sync = std::get_if<sched::SyncNode>(&*action);
    if (sync != nullptr && nodes.insert(sync->desired.node).second) act(*sync);
  }
  for (auto& [done, outcome] : group.answers) done(outcome);
  for (const sched::Action& action : group.actions) {
    if (std::get_if<sched::SyncNode>(&action) != nullptr) continue;
    std::visit([&](const auto& value) { act(value); }, action);
  }
  std::set<std::string> runs(group.noted.begin(), group.noted.end());
  for (const sched::Record& record : group.records) {
    if (record.run.empty()) continue;
    runs.insert(record.run);
    if (record.type == sched::RecordType::kRunDeleted) watch_.forget(record.run);
  }
  for (const std::string& run : runs) watch_.touched(run, scheduler_, seams_.store);
}

void Core::act(const sched::SyncNode& action) {
  const auto sink = sinks_.find(action.desired.node);
  if (sink == sinks_.end()) return;
  sink->second->desired(
      assign(scheduler_.state(), action.desired, {options_.store, options_.store_id, options_.secret}));
}

void Core::act(const sched::FindArtifact& action) {
  const sched::Run* run = scheduler_.find_run(action.run);
  if (run == nullptr) return;
  const std::string& uses = run->stages[run->index.at(action.stage)].plan.uses;
  seams_.executor.run([this, action, folder = store::artifact_folder(options_.store, uses, action.key)] {
    const auto warn = [](const std::string& message) { base::log(base::LogLevel::kWarning, message); };
    StatusOr<json> summary = find_artifact(seams_.env, folder, action.key, warn);
    Status posted;
    if (summary.ok()) {
      posted = put(Request{sched::ArtifactFound{action.run, action.stage, action.key, *std::move(summary)}, nullptr},
                   Room::kAlways);
    } else {
      posted = put(Request{sched::ArtifactMissing{action.run, action.stage, action.key}, nullptr}, Room::kAlways);
    }
    posted.IgnoreError();  // the core is at its end: asked for again by the next one
  });
}

void Core::act(const sched::RunEnded& action) {
  const sched::Run* run = scheduler_.find_run(action.run);
  if (run == nullptr || run->delivery != sched::Delivery::kPending) return;
  const auto copy = std::make_shared<const sched::Run>(*run);
  deliveries_.add(run->options.value("output", ""), [this, copy] {
    const Status delivered = deliver_run(seams_.env, *copy, options_.store);
    if (!delivered.ok()) base::log(base::LogLevel::kError, copy->id + ": " + std::string(delivered.message()));
    put(Request{sched::RunDelivered{copy->id, std::string(delivered.message())}, nullptr}, Room::kAlways).IgnoreError();
  });
}

}  // namespace gridquant::control
