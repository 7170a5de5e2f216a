// See watch.h.
#include "coordinator/control/watch.h"

namespace gridquant::control {
namespace {

using nlohmann::json;

// Nothing more is to be told: the run is over, and delivered if there was something to deliver.
bool is_told(const sched::Run& run) {
  return is_over(run.state) && run.delivery != sched::Delivery::kPending;
}

StatusOr<std::vector<sched::Record>> read_records(store::StateStore& store, const std::string& run, uint64_t after) {
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> texts, store.records(run, after, Watch::kPageRecords));
  std::vector<sched::Record> records;
  for (const std::string& text : texts) {
    GQ_ASSIGN_OR_RETURN(sched::Record record, sched::record_from_json(json::parse(text, nullptr, false)));
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace

bool Watch::answer(const WatchCall& call, const sched::Scheduler& scheduler, store::StateStore& store) const {
  const sched::Run* run = scheduler.find_run(call.run);
  if (run == nullptr) {
    call.done(absl::NotFoundError(sched::no_run(scheduler.state(), call.run)));
    return true;
  }
  if (call.after > run->events) {
    call.done(absl::OutOfRangeError("run " + call.run + " has " + std::to_string(run->events) +
                                    " events: there is none after " + std::to_string(call.after)));
    return true;
  }
  WatchPage page;
  page.notes_version = call.after_notes;
  if (run->events > call.after) {
    StatusOr<std::vector<sched::Record>> records = read_records(store, call.run, call.after);
    if (!records.ok()) {
      call.done(records.status());
      return true;
    }
    page.records = *std::move(records);
  }
  if (const auto notes = notes_.find(call.run); notes != notes_.end()) {
    for (const Note& note : notes->second.messages) {
      if (note.version > call.after_notes) page.notes.push_back(note);
    }
    for (const auto& [stage, note] : notes->second.progress) {
      if (note.version > call.after_notes) page.notes.push_back(note);
    }
    for (const Note& note : page.notes) page.notes_version = std::max(page.notes_version, note.version);
  }
  page.over = page.records.empty() && (is_told(*run) || !call.wait);
  if (page.records.empty() && page.notes.empty() && !page.over) return false;
  call.done(page);
  return true;
}

void Watch::ask(uint64_t id, WatchCall call, const sched::Scheduler& scheduler, store::StateStore& store) {
  if (!answer(call, scheduler, store)) calls_[id] = std::move(call);
}

void Watch::drop(uint64_t id) {
  calls_.erase(id);
}

void Watch::note(Note note) {
  Notes& notes = notes_[note.run];
  note.version = ++version_;
  if (note.kind == "progress") {
    notes.progress[note.stage] = std::move(note);
    return;
  }
  notes.messages.push_back(std::move(note));
  if (notes.messages.size() > kMaxMessages) notes.messages.pop_front();
}

void Watch::touched(const std::string& run, const sched::Scheduler& scheduler, store::StateStore& store) {
  for (auto call = calls_.begin(); call != calls_.end();) {
    const bool answered = call->second.run == run && answer(call->second, scheduler, store);
    call = answered ? calls_.erase(call) : std::next(call);
  }
}

void Watch::fail_all(const Status& status) {
  for (const auto& [id, call] : calls_) call.done(status);
  calls_.clear();
}

}  // namespace gridquant::control
