// The nodes: agent processes with the real AgentSession, and workers that do as chance says.
#include <algorithm>

#include "tests/sim/cluster.h"

namespace gridquant::sim {
namespace {

constexpr Tick kHeartbeatMs = 1'000;
constexpr int64_t kShutDownMs = 2'000;  // for its workers
constexpr Tick kLookMs = 100;           // whether they have ended

}  // namespace

void Cluster::add_node(int cores, int gpus) {
  auto host = std::make_unique<Host>();
  host->name = "n" + std::to_string(hosts_.size() + 1);
  host->inventory = {.cores = cores, .memory_bytes = 1 << 30, .gpus = gpus};
  hosts_.push_back(std::move(host));
  start_agent(*hosts_.back());
}

void Cluster::start_agent(Host& host) {
  if (host.agent) return;
  std::vector<uint64_t> leftovers;
  for (const auto& [epoch, process] : host.processes) leftovers.push_back(epoch);
  node::SessionLimits limits;
  limits.agent.kill_repeat_ms = 500;
  limits.verify_ms = 6'000;
  host.agent = std::make_unique<node::AgentSession>(host.name, ++host.boot, host.inventory, leftovers, limits);
  note(host.name + " agent starts");
  heartbeat(host, host.boot);
  agent_timer(host);
}

void Cluster::crash_agent(Host& host, bool leave_workers) {
  if (!host.agent) return;
  note(host.name + (leave_workers ? " agent dies, workers stay" : " agent dies with its workers"));
  host.agent.reset();
  if (leave_workers) return;
  for (const auto& [epoch, process] : host.processes) process->over = true;
  host.processes.clear();
}

void Cluster::stop_agent(Host& host) {
  if (!host.agent) return;
  note(host.name + " agent is asked to stop");
  agent_input(host, node::ShutDown{kShutDownMs});
  effect(host, node::SendReport{});  // that it is leaving
  end_stopped(host, host.boot);
}

void Cluster::end_stopped(Host& host, int64_t boot) {
  if (!host.agent || host.boot != boot) return;
  if (!host.processes.empty()) return after(kLookMs, [this, &host, boot] { end_stopped(host, boot); });
  effect(host, node::SendReport{});
  note(host.name + " agent ends");
  host.agent.reset();
  after(random_.between(500, 9'000), [this, &host] { start_agent(host); });
}

void Cluster::heartbeat(Host& host, int64_t boot) {
  if (!host.agent || host.boot != boot) return;
  effect(host, node::SendReport{});
  after(kHeartbeatMs, [this, &host, boot] { heartbeat(host, boot); });
}

void Cluster::agent_input(Host& host, const node::SessionInput& input) {
  if (!host.agent) return;
  for (const node::SessionEffect& one : host.agent->step(input, now_)) effect(host, one);
  agent_timer(host);
}

void Cluster::agent_timer(Host& host) {
  const auto due = host.agent ? host.agent->next_timer_ms() : std::nullopt;
  if (!due) return;
  after(std::max<Tick>(*due - now_, 1), [this, &host, mine = ++host.timer] {
    if (host.agent && mine == host.timer) agent_input(host, node::TimerFired{});
  });
}

void Cluster::effect(Host& host, const node::SessionEffect& effect) {
  if (const auto* start = std::get_if<node::LaunchAttempt>(&effect)) {
    after(random_.between(1, 30), [this, &host, boot = host.boot, attempt = start->attempt] {
      if (host.agent && host.boot == boot) launch(host, attempt);
    });
  } else if (const auto* kill = std::get_if<node::SignalProcess>(&effect)) {
    signal(host, kill->epoch, kill->kill);
  } else if (const auto* verify = std::get_if<node::VerifyDevices>(&effect)) {
    const bool free = !faulty_ || random_.chance(0.8);
    after(5, [this, &host, boot = host.boot, epoch = verify->epoch, free] {
      if (host.boot == boot) agent_input(host, node::DevicesVerified{epoch, free});
    });
  } else {
    send(&host, nullptr, [this, report = host.agent->report()] { deliver_report(report); });
  }
}

void Cluster::launch(Host& host, const sched::DesiredAttempt& attempt) {
  int cores = attempt.cores;
  uint64_t gpus = attempt.gpus;
  for (const auto& [epoch, other] : host.processes) {
    cores += other->attempt.cores;
    if ((gpus & other->attempt.gpus) != 0 || cores > host.inventory.cores) {
      throw Violation("2", "two processes have one slot of " + host.name);
    }
  }
  auto process = std::make_shared<Process>();
  process->attempt = attempt;
  process->run = attempt.run;
  process->stage = attempt.stage;
  host.processes[attempt.epoch] = process;
  note(host.name + " starts " + std::to_string(attempt.epoch) + " " + attempt.run + "/" + attempt.stage);
  agent_input(host, node::ProcessStarted{attempt.epoch, int64_t(1000 + attempt.epoch)});
  if (manual_workers) return;
  int code = 0;
  Tick takes = random_.between(20, 3'000);
  if (faulty_) {
    process->stubborn = random_.chance(faults_.stubborn);
    if (random_.chance(faults_.unkillable)) process->unkillable_until = now_ + random_.between(3'000, 15'000);
    if (random_.chance(faults_.fail_retry)) code = random_.chance(0.5) ? 132 : 139;
    if (random_.chance(faults_.fail_user)) code = 10;
    if (random_.chance(faults_.corrupt)) code = 14;
    if (random_.chance(faults_.hang)) takes = Tick{1} << 40;
  }
  after(takes, [this, &host, process, code] {
    if (!process->over) end_process(host, process->attempt.epoch, code);
  });
}

// Also when the agent is down: then it ends unseen.
void Cluster::end_process(Host& host, uint64_t epoch, int exit_code) {
  const auto found = host.processes.find(epoch);
  if (found == host.processes.end()) return;
  const std::shared_ptr<Process> process = found->second;
  process->over = true;
  host.processes.erase(found);
  note(host.name + " " + std::to_string(epoch) + " ends with " + std::to_string(exit_code));
  if (!host.agent) return;
  node::WorkerResult result{.epoch = epoch};
  if (exit_code == 0) {
    result.summary = {{"content", content_of(process->attempt.key)},
                      {"epoch", epoch},
                      {"run", process->run},
                      {"stage", process->stage}};
  }
  agent_input(host, result);
  agent_input(host, node::ProcessExited{epoch, exit_code});
}

bool Cluster::end_first(int exit_code) {
  for (const auto& host : hosts_) {
    if (host->processes.empty()) continue;
    end_process(*host, host->processes.begin()->first, exit_code);
    return true;
  }
  return false;
}

void Cluster::signal(Host& host, uint64_t epoch, bool kill) {
  const auto found = host.processes.find(epoch);
  if (found == host.processes.end()) {  // a leftover that ended while nobody looked
    after(1, [this, &host, epoch] { agent_input(host, node::ProcessExited{epoch, 137}); });
    return;
  }
  const std::shared_ptr<Process> process = found->second;
  if (bugs_.early_free) return agent_input(host, node::ProcessExited{epoch, 143});
  if ((!kill && process->stubborn) || now_ < process->unkillable_until) return;
  after(random_.between(1, kill ? 20 : 500), [this, &host, process, kill] {
    if (!process->over) end_process(host, process->attempt.epoch, kill ? 137 : 143);
  });
}

}  // namespace gridquant::sim
