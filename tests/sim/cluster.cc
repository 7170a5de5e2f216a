// The coordinator's side: clock, network, disk, group commit. See hosts.cc for the nodes, random.cc for what happens.
#include "tests/sim/cluster.h"

#include <algorithm>
#include <utility>

namespace gridquant::sim {
namespace {

StatusOr<bool> condition(const std::string&, const nlohmann::json&, const nlohmann::json&) {
  return true;
}

// One line for people.
std::string describe(const sched::Record& record) {
  std::string text = name_of(record.type);
  if (!record.run.empty()) text += " " + record.run + (record.stage.empty() ? "" : "/" + record.stage);
  for (const char* field : {"epoch", "id", "node", "outcome", "budget", "why", "message", "state", "reason"}) {
    const auto value = record.body.find(field);
    if (value == record.body.end() || *value == "" || (*value == record.body.value("node", "") && field[0] != 'n'))
      continue;
    if (field[0] == 'n' && record.body.contains("members")) continue;
    text += std::string(" ") + field + "=" + (value->is_string() ? value->get<std::string>() : value->dump());
  }
  if (!record.body.contains("members")) return text;
  text += " on";
  for (const auto& member : record.body.at("members")) {
    text += " " + member.at("node").get<std::string>() + "x" + member.at("ranks").dump();
  }
  return text;
}

// As the store does it.
void erase_run(std::vector<Transaction>& disk, const sched::Record& deleted) {
  const auto [mark, last] = sched::remains_of(deleted);
  bool first = true;
  for (Transaction& transaction : disk) {
    std::vector<sched::Record> kept;
    for (sched::Record& record : transaction.written) {
      const bool of_run = record.run == deleted.run;
      if (!of_run) kept.push_back(std::move(record));
      if (of_run && record.type == sched::RecordType::kRunDeleted) kept.push_back(last);
      if (of_run && std::exchange(first, false)) kept.push_back(mark);
    }
    transaction.written = std::move(kept);
    transaction.records = transaction.written.size();
  }
}

}  // namespace

sched::Limits Cluster::limits() const {
  sched::Limits limits;
  limits.stop_grace_ms = 2'000;
  limits.node_lease_ms = 5'000;
  limits.reserve_after_ms = 8'000;
  limits.keep_runs = static_cast<size_t>(faults_.keep_runs);
  limits.timing = {.aging_ms = 30'000, .shrink_after_ms = 4'000, .start_timeout_ms = 10'000};
  return limits;
}

// Only what is whole counts, with all that follows from it.
void Cluster::write(Transaction transaction) {
  if (transaction.records == 0) return;
  const bool whole = transaction.written.size() == transaction.records;
  std::vector<sched::Record> deleted;
  for (const sched::Record& record : transaction.written) {
    if (whole && record.type == sched::RecordType::kRunDeleted) deleted.push_back(record);
  }
  disk_.push_back(std::move(transaction));
  for (const sched::Record& record : deleted) erase_run(disk_, record);
}

uint64_t Random::next() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return state_ * 0x2545F4914F6CDD1Dull;
}

Cluster::Cluster(uint64_t seed, Faults faults, Bugs bugs) : random_(seed), faults_(faults), bugs_(bugs) {
  for (int i = 0; i < 4; ++i) random_.next();
}

void Cluster::after(Tick ms, Event event) {
  events_.emplace(std::pair{now_ + std::max<Tick>(ms, 0), event_number_++}, std::move(event));
}

void Cluster::note(const std::string& text) {
  if (tracing) trace.push_back(std::to_string(now_) + " " + text);
}

void Cluster::advance(Tick until) {
  while (!events_.empty() && events_.begin()->first.first <= until) {
    const auto event = events_.extract(events_.begin());
    now_ = event.key().first;
    event.mapped()();
  }
  now_ = std::max(now_, until);
}

// `from` or `to` is null: the coordinator.
void Cluster::send(Host* from, Host* to, Event deliver) {
  if ((from != nullptr && from->cut_out) || (to != nullptr && to->cut_in)) return;
  int copies = 1;
  if (faulty_ && random_.chance(faults_.loss)) copies = 0;
  if (faulty_ && random_.chance(faults_.duplicate)) copies = 2;
  for (; copies > 0; --copies) {
    const bool late = faulty_ && random_.chance(faults_.late);
    after(late ? random_.between(100, 8'000) : random_.between(1, 20), deliver);
  }
}

// ---- the coordinator

void Cluster::start_coordinator() {
  if (scheduler_ || disk_full_) return;
  std::vector<sched::Record> records;
  if (!disk_.empty() && disk_.back().written.size() != disk_.back().records) disk_.pop_back();  // torn
  for (const Transaction& transaction : disk_) {
    for (const sched::Record& record : transaction.written) {
      if ((generation_ & 7) != 1) {
        records.push_back(record);
        continue;
      }
      auto read = sched::record_from_json(nlohmann::json::parse(to_json(record).dump()));
      if (!read.ok()) throw Violation("5", std::string(read.status().message()));
      records.push_back(*std::move(read));
    }
  }
  auto replayed = sched::Scheduler::replay(records, condition, limits());
  if (!replayed.ok()) throw Violation("5", std::string(replayed.status().message()));
  scheduler_.emplace(*std::move(replayed));
  checks_.recovered(*scheduler_);
  ++generation_;
  steps_ = durable_steps_ = 0;
  next_timer_ = 0;
  checks_.durable_steps(0);
  note("coordinator starts");
  input(sched::Restarted{});
}

void Cluster::crash_coordinator(bool wrote_last) {
  if (!scheduler_) return;
  note("coordinator dies");
  if (syncing_) {  // what was being written is found whole, or torn, or not at all
    Transaction transaction;
    for (const Step& step : in_sync_) {
      transaction.records += step.records.size();
      transaction.written.insert(transaction.written.end(), step.records.begin(), step.records.end());
    }
    const bool torn = !wrote_last && transaction.records > 1 && random_.chance(0.5);
    if (torn) transaction.written.resize(static_cast<size_t>(random_.between(1, int64_t(transaction.records) - 1)));
    if (wrote_last) checks_.durable(transaction.written);
    if (wrote_last || torn) write(std::move(transaction));
  }
  scheduler_.reset();
  ++generation_;
  syncing_ = false;
  in_sync_.clear();
  unsynced_.clear();
  checks_.crashed();
}

void Cluster::input(const sched::Input& input) {
  if (!scheduler_) return;
  sched::StepResult result = scheduler_->step(input, now_);
  Step step{std::move(result.records), std::move(result.actions)};
  if (bugs_.double_commit) {
    for (size_t i = 0; i < step.records.size(); ++i) {
      const sched::Record record = step.records[i];
      if (record.type != sched::RecordType::kAttemptFinished || record.body.value("outcome", "") != "succeeded")
        continue;
      step.records.insert(step.records.begin() + static_cast<long>(i), record);
      break;
    }
  }
  if (tracing) {
    for (const sched::Record& record : step.records) note(describe(record));
    if (!result.refused.empty()) note("refused: " + result.refused);
  }
  checks_.stepped(*scheduler_, step.records);
  const size_t number = steps_++;
  if (bugs_.act_first) {
    for (const sched::Action& action : step.actions) checks_.performed(action, number);
  }
  unsynced_.push_back(std::move(step));
  if (!syncing_) begin_sync();
  coordinator_timer();
}

void Cluster::begin_sync() {
  in_sync_.assign(unsynced_.begin(), unsynced_.end());
  unsynced_.clear();
  const bool anything =
      std::any_of(in_sync_.begin(), in_sync_.end(), [](const Step& one) { return !one.records.empty(); });
  syncing_ = true;
  const Tick takes = !anything ? 0 : faulty_ && random_.chance(0.02) ? random_.between(50, 800) : random_.between(2, 8);
  after(takes, [this, generation = generation_] { end_sync(generation, in_sync_); });
}

void Cluster::end_sync(uint64_t generation, std::vector<Step> batch) {
  if (generation != generation_) return;
  Transaction transaction;
  for (const Step& step : batch) {
    transaction.records += step.records.size();
    transaction.written.insert(transaction.written.end(), step.records.begin(), step.records.end());
  }
  if (transaction.records > 0 && disk_full_) {
    note("disk full");
    in_sync_.clear();
    return crash_coordinator(false);
  }
  checks_.durable(transaction.written);
  if (bugs_.lose_record && transaction.records > 1) {
    transaction.written.pop_back();
    --transaction.records;
  }
  write(std::move(transaction));
  durable_steps_ += batch.size();
  checks_.durable_steps(durable_steps_);
  size_t number = durable_steps_ - batch.size();
  syncing_ = false;
  in_sync_.clear();
  for (const Step& step : batch) {
    for (const sched::Action& action : step.actions) {
      checks_.performed(action, number);
      perform(action);
    }
    ++number;
  }
  if (!unsynced_.empty() && !syncing_) begin_sync();
}

void Cluster::perform(const sched::Action& action) {
  if (const auto* find = std::get_if<sched::FindArtifact>(&action)) {
    const bool there = checks_.committed(find->key);
    after(1, [this, one = *find, there, generation = generation_] {
      if (generation != generation_) return;
      if (there) {
        input(sched::ArtifactFound{one.run, one.stage, one.key, {{"content", content_of(one.key)}}});
      } else {
        input(sched::ArtifactMissing{one.run, one.stage, one.key});
      }
    });
  } else if (const auto* sync = std::get_if<sched::SyncNode>(&action)) {
    for (const auto& host : hosts_) {
      if (host->name != sync->desired.node) continue;
      send(nullptr, host.get(), [this, to = host.get(), desired = sync->desired] { agent_input(*to, desired); });
    }
  } else if (const auto* answer = std::get_if<sched::Answer>(&action)) {
    send(nullptr, nullptr, [this, request = answer->request] { unanswered_.erase(request); });
  }
}

void Cluster::coordinator_timer() {
  const auto due = scheduler_->next_timer_ms();
  if (!due) return;
  if (next_timer_ > now_ && *due >= next_timer_) return;  // one that comes earlier is set already
  next_timer_ = std::max(*due, now_ + 1);
  after(next_timer_ - now_, [this, generation = generation_, mine = ++timer_] {
    if (generation != generation_ || mine != timer_) return;
    next_timer_ = 0;
    input(sched::TimerFired{});
  });
}

void Cluster::deliver_report(const sched::NodeReport& report) {
  if (!scheduler_) return;
  if (bugs_.no_fence) {
    for (const sched::AttemptReport& one : report.attempts) {
      if (one.phase != sched::Phase::kFinished || one.exit_code != 0 || !one.summary.contains("run")) continue;
      const std::string run = one.summary["run"], stage = one.summary["stage"];
      const sched::Run* of = scheduler_->find_run(run);
      if (of == nullptr) continue;
      const sched::Stage& at = of->stages[of->index.at(stage)];
      if (at.state != sched::StageState::kRunning) continue;
      sched::AttemptFinished finished{.run = run, .stage = stage, .epoch = at.attempts.back().epoch};
      finished.summary = one.summary;
      input(finished);
    }
  }
  input(report);
}

bool Cluster::idle() const {
  if (!scheduler_ || syncing_ || !unsynced_.empty() || !scheduler_->state().leases.empty()) return false;
  if (!scheduler_->state().index.open_runs.empty() || !unanswered_.empty()) return false;
  return std::all_of(hosts_.begin(), hosts_.end(), [](const auto& host) { return host->processes.empty(); });
}

void Cluster::expect_end(Tick within) {
  const Tick end = now_ + within;
  while (!idle() && now_ < end) advance(now_ + 500);
  if (idle()) return;
  std::string text = scheduler_ ? "" : " the coordinator is down;";
  if (scheduler_) {
    for (const std::string& id : scheduler_->state().index.open_runs) {
      for (const sched::Stage& stage : scheduler_->find_run(id)->stages) {
        if (!is_over(stage.state)) text += " " + id + ": " + *explain(*scheduler_, id, stage.plan.name, now_) + ";";
      }
    }
    text += " leases " + std::to_string(scheduler_->state().leases.size());
  }
  for (const auto& host : hosts_) text += ", processes " + std::to_string(host->processes.size());
  throw Violation("liveness", "not over after " + std::to_string(within / 1000) + " s without faults:" + text);
}

}  // namespace gridquant::sim
