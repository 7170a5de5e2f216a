// A cluster in one thread: the real scheduler, real agent sessions, and a simulated clock, network, disk, workers and
// client. One seed decides everything. Invariants are checked after every step; a broken one is thrown as a Violation.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/sched/scheduler.h"
#include "node/agent/agent_session.h"
#include "tests/sim/checks.h"
#include "tests/sim/faults.h"

namespace gridquant::sim {

using sched::Tick;

// xorshift64*: the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0x1234567) {}
  uint64_t next();
  int64_t between(int64_t low, int64_t high) { return low + static_cast<int64_t>(next() % uint64_t(high - low + 1)); }
  bool chance(double probability) { return double(next() >> 11) < probability * 9007199254740992.0; }

 private:
  uint64_t state_;
};

struct Process {
  std::string run, stage;
  sched::DesiredAttempt attempt;
  bool stubborn = false;      // ignores TERM
  Tick unkillable_until = 0;  // and KILL until then
  bool over = false;
};

struct Host {
  std::string name;
  sched::Inventory inventory;
  std::unique_ptr<node::AgentSession> agent;  // null: it is down
  int64_t boot = 0;
  uint64_t timer = 0;  // which timer event is the current one
  bool cut_in = false, cut_out = false;
  std::map<uint64_t, std::shared_ptr<Process>> processes;
};

struct Transaction {
  size_t records = 0;  // how many there must be
  std::vector<sched::Record> written;
};

class Cluster {
 public:
  Cluster(uint64_t seed, Faults faults, Bugs bugs = {});

  void run();                      // faults for a while, then none, until all is over; throws Violation
  std::vector<std::string> trace;  // what happened, if `tracing`
  bool tracing = false;

  // Single steps, for scenarios and small worlds.
  void add_node(int cores, int gpus);
  void start_coordinator();
  void crash_coordinator(bool wrote_last);
  void input(const sched::Input& input);
  void submit(const sched::RunSubmitted& run);
  void advance(Tick until);  // performs the events up to then
  bool idle() const;         // every run over, no lease, no process
  void heal();
  void expect_end(Tick within);  // throws a Violation of liveness
  Host& host(size_t index) { return *hosts_[index]; }
  void crash_agent(Host& host, bool leave_workers);
  void start_agent(Host& host);
  void stop_agent(Host& host);  // in order; a while after its end it is started anew
  void end_process(Host& host, uint64_t epoch, int exit_code);
  bool end_first(int exit_code);  // some process; false: there is none
  // A chain of stages named by the letters of `stages`; equal letters have equal keys.
  static sched::RunSubmitted plain_run(const std::string& id, const std::string& stages);
  void set_disk_full(bool full) { disk_full_ = full; }
  const sched::Scheduler* scheduler() const { return scheduler_ ? &*scheduler_ : nullptr; }
  Tick now() const { return now_; }
  bool manual_workers = false;  // they end only by end_process()
  size_t steps() const { return steps_; }

 private:
  using Event = std::function<void()>;
  struct Step {
    std::vector<sched::Record> records;
    std::vector<sched::Action> actions;
  };

  void after(Tick ms, Event event);
  void note(const std::string& text);
  void send(Host* from, Host* to, Event deliver);
  sched::Limits limits() const;
  void write(Transaction transaction);
  void begin_sync();
  void end_sync(uint64_t generation, std::vector<Step> batch);
  void perform(const sched::Action& action);
  void coordinator_timer();
  void deliver_report(const sched::NodeReport& report);
  void heartbeat(Host& host, int64_t boot);
  void agent_input(Host& host, const node::SessionInput& input);
  void effect(Host& host, const node::SessionEffect& effect);
  void agent_timer(Host& host);
  void end_stopped(Host& host, int64_t boot);
  void launch(Host& host, const sched::DesiredAttempt& attempt);
  void signal(Host& host, uint64_t epoch, bool kill);
  void fault_tick();
  void cut(Host& host);
  void client_request(const sched::Input& input, const std::string& id);
  void ask(const std::string& id);
  void submit_random(int number);
  void undo();
  void cancel_impossible();

  Random random_;
  Faults faults_;
  Bugs bugs_;
  Tick now_ = 1'000;
  std::map<std::pair<Tick, uint64_t>, Event> events_;
  uint64_t event_number_ = 0;
  std::optional<sched::Scheduler> scheduler_;
  uint64_t generation_ = 0;  // of the coordinator's process
  std::deque<Step> unsynced_;
  bool syncing_ = false;
  std::vector<Step> in_sync_;
  std::vector<Transaction> disk_;
  bool disk_full_ = false;
  bool faulty_ = true;
  uint64_t timer_ = 0;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::map<std::string, sched::Input> unanswered_;  // request id -> what the client still asks for
  Checks checks_;
  size_t steps_ = 0, durable_steps_ = 0;
  Tick next_timer_ = 0;
};

// Pipelines of 2 to 5 stages; equal names in runs of one variant have equal keys.
sched::RunSubmitted random_run(Random& random, int number);

}  // namespace gridquant::sim
