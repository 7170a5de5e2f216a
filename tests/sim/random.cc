// What chance does to the cluster while faults last, and what its client asks for.
#include <algorithm>

#include "tests/sim/cluster.h"

namespace gridquant::sim {

sched::RunSubmitted random_run(Random& random, int number) {
  sched::RunSubmitted run;
  run.run = "r" + std::to_string(number);
  run.options = nlohmann::json::object();
  run.use_cache = random.chance(0.8);
  run.pipeline.name = "p";
  run.pipeline.params = nlohmann::json::object();
  run.pipeline.priority = static_cast<int>(random.between(-2, 2));
  run.pipeline.queue = random.chance(0.3) ? "small" : "default";
  if (random.chance(0.1)) run.pipeline.deadline_ms = random.between(20'000, 60'000);
  const std::string variant = std::to_string(random.between(0, 1));
  const int64_t stages = random.between(1, 4);
  for (int64_t i = 0; i < stages; ++i) {
    spec::StagePlan plan;
    plan.name = std::string(1, static_cast<char>('a' + i));
    plan.uses = plan.name;
    plan.with = nlohmann::json::object();
    plan.retry = {.max_attempts = 3, .initial_backoff_ms = 100, .factor = 2, .max_backoff_ms = 1'000};
    plan.timeout_ms = random.chance(0.5) ? 8'000 : 20'000;
    if (random.chance(0.1)) plan.deadline_ms = 30'000;
    plan.cores = random.chance(0.2) ? 0 : static_cast<int>(random.between(1, 3));
    if (random.chance(0.3)) {
      plan.gang_ranks = static_cast<int>(random.between(2, 4));
      plan.gang_min_ranks = random.chance(0.7) ? 1 : plan.gang_ranks;
      plan.cores = 1;
    }
    if (random.chance(0.3)) plan.gpus_per_rank = 1;
    for (int64_t j = 0; j < i; ++j) {
      if (!random.chance(0.6)) continue;
      const std::string need(1, static_cast<char>('a' + j));
      plan.needs.push_back(need);
      plan.inputs[need] = need;
    }
    run.keys[plan.name] = plan.name + variant + std::to_string(stages);
    run.pipeline.stages.push_back(std::move(plan));
  }
  return run;
}

sched::RunSubmitted Cluster::plain_run(const std::string& id, const std::string& stages) {
  sched::RunSubmitted run;
  run.run = id;
  run.options = nlohmann::json::object();
  run.pipeline.name = "p";
  run.pipeline.params = nlohmann::json::object();
  for (const char letter : stages) {
    spec::StagePlan plan;
    plan.name = plan.uses = std::string(1, letter);
    plan.with = nlohmann::json::object();
    plan.retry = {.max_attempts = 3, .initial_backoff_ms = 100, .factor = 2, .max_backoff_ms = 1'000};
    plan.cores = 1;
    if (!run.pipeline.stages.empty()) {
      const std::string before = run.pipeline.stages.back().name;
      plan.needs = {before};
      plan.inputs[before] = before;
    }
    run.keys[plan.name] = plan.name;
    run.pipeline.stages.push_back(std::move(plan));
  }
  return run;
}

void Cluster::submit(const sched::RunSubmitted& run) {
  client_request(run, run.request.empty() ? "submit " + run.run : run.request);
}

// Asks again until there is an answer; the same id each time.
void Cluster::client_request(const sched::Input& input, const std::string& id) {
  sched::Input request = input;
  std::visit(
      [&](auto& value) {
        if constexpr (requires { value.request; }) value.request = id;
      },
      request);
  unanswered_[id] = request;
  ask(id);
}

void Cluster::ask(const std::string& id) {
  const auto found = unanswered_.find(id);
  if (found == unanswered_.end()) return;
  send(nullptr, nullptr, [this, request = found->second] { input(request); });
  after(random_.between(200, 1'500), [this, id] { ask(id); });
}

void Cluster::submit_random(int number) {
  const std::string id = "r" + std::to_string(number);
  if (number % 5 == 4) {
    sched::BatchSubmitted batch{.batch = "b" + id, .name = "b", .max_parallel = 1, .fail_fast = true, .runs = {}};
    for (int i = 0; i < 2; ++i) batch.runs.push_back(random_run(random_, number * 10 + i));
    return client_request(batch, "batch " + id);
  }
  submit(random_run(random_, number));
  if (random_.chance(faults_.cancel)) {
    after(random_.between(10, 9'000), [this, id] {
      client_request(sched::CancelRequested{id, "changed their mind", random_.chance(0.3)}, "cancel " + id);
    });
  }
  if (random_.chance(faults_.remove)) {
    after(random_.between(3'000, 30'000), [this, id] { client_request(sched::DeleteRequested{id}, "delete " + id); });
  }
  if (random_.chance(faults_.pause)) {
    after(random_.between(10, 4'000), [this, id] { client_request(sched::PauseRequested{id, true}, "pause " + id); });
  }
}

void Cluster::cut(Host& host) {
  const int64_t how = random_.between(0, 2);
  host.cut_in = how != 1;
  host.cut_out = how != 2;
  note(host.name + " is cut off");
  after(random_.between(500, 15'000), [this, &host] {
    host.cut_in = host.cut_out = false;
    note(host.name + " is reachable");
  });
}

// Ten times a second.
void Cluster::fault_tick() {
  if (!faulty_) return;
  const auto happens = [&](double per_second) { return random_.chance(per_second / 10); };
  if (happens(faults_.coordinator_crash)) crash_coordinator(random_.chance(0.5));
  if (happens(faults_.disk_full) && !disk_full_) {
    disk_full_ = true;
    after(random_.between(500, 5'000), [this] { disk_full_ = false; });
  }
  if (!scheduler_ && random_.chance(0.1)) start_coordinator();
  for (const auto& host : hosts_) {
    if (happens(faults_.agent_crash)) crash_agent(*host, random_.chance(0.4));
    if (happens(faults_.node_crash)) crash_agent(*host, false);
    if (happens(faults_.agent_stop)) stop_agent(*host);
    if (!host->agent && random_.chance(0.03)) start_agent(*host);
    if (!host->cut_in && !host->cut_out && happens(faults_.cut)) cut(*host);
    if (happens(faults_.forget)) {
      client_request(sched::ForgetRequested{host->name}, "forget " + host->name + " " + std::to_string(now_));
    }
    if (happens(faults_.drain)) {
      const std::string id = host->name + " " + std::to_string(now_);
      client_request(sched::DrainRequested{host->name, true, random_.between(0, 4'000)}, "drain " + id);
      after(random_.between(1'000, 8'000), [this, id, name = host->name] {
        client_request(sched::DrainRequested{name, false}, "undrain " + id);
      });
    }
  }
  after(100, [this] { fault_tick(); });
}

void Cluster::heal() {
  faulty_ = disk_full_ = false;
  note("no more faults");
  start_coordinator();
  for (const auto& host : hosts_) {
    host->cut_in = host->cut_out = false;
    start_agent(*host);
    for (auto& [epoch, process] : host->processes) process->unkillable_until = 0;
  }
}

// Whoever paused resumes, whoever drained undrains; refusals do not matter.
void Cluster::undo() {
  for (const auto& host : hosts_) client_request(sched::DrainRequested{host->name, false}, "end undrain " + host->name);
  if (!scheduler_) return;
  for (const std::string& id : scheduler_->state().index.open_runs) {
    client_request(sched::PauseRequested{id, false}, "end resume " + id);
  }
}

void Cluster::run() {
  start_coordinator();
  const int64_t nodes = random_.between(1, 3);
  for (int64_t i = 0; i < nodes; ++i) add_node(static_cast<int>(random_.between(2, 4)), i == 0 ? 2 : 1);
  client_request(sched::QueueRequested{"small", {.cores = 4, .gpus = 2, .memory_bytes = 0}}, "queue");
  const int64_t runs = random_.between(1, 4);
  for (int64_t i = 0; i < runs; ++i) {
    after(random_.between(0, 6'000), [this, i, shift = random_.between(0, 1)] { submit_random(int(i + shift * 4)); });
  }
  fault_tick();
  advance(now_ + random_.between(6'000, 16'000));
  heal();
  advance(now_ + 16'000);  // what was under way when the faults stopped: late messages, drains, pauses
  undo();
  // A gang that no longer fits anywhere is cancelled: that is not what liveness is about.
  for (int i = 0; i < 60 && !idle(); ++i) advance(now_ + 1'000);
  cancel_impossible();
  expect_end(240'000);
}

void Cluster::cancel_impossible() {
  if (!scheduler_) return;
  for (const std::string& id : std::set<std::string>(scheduler_->state().index.open_runs)) {
    for (const sched::Stage& stage : scheduler_->find_run(id)->stages) {
      int gpus = 0, cores = 0;
      for (const auto& host : hosts_) {
        gpus += host->inventory.gpus;
        cores += host->inventory.cores;
      }
      const int ranks = stage.plan.gang_min_ranks;
      const bool never =
          ranks * stage.plan.gpus_per_rank > gpus || ranks * std::max(stage.plan.cores, 1) > cores ||
          (scheduler_->find_run(id)->pipeline.queue == "small" && stage.plan.gang_ranks * stage.plan.gpus_per_rank > 2);
      if (never) {
        client_request(sched::CancelRequested{id, "it cannot run here"}, "end cancel " + id);
        break;
      }
    }
  }
}

}  // namespace gridquant::sim
