// What the scheduler costs, without disk and network: replay of 100,000 records, a 10,000-stage DAG, 1,000 nodes.
// bench_control prints RESULT lines.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "coordinator/sched/scheduler.h"

namespace gridquant {
namespace {

using sched::Record;
using sched::Scheduler;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

spec::StagePlan stage_of(const std::string& name) {
  spec::StagePlan plan;
  plan.name = plan.uses = name;
  plan.with = nlohmann::json::object();
  plan.cores = 1;
  return plan;
}

// Layers of a hundred stages; each needs three of the layer before.
sched::RunSubmitted layered(const std::string& run, int stages) {
  sched::RunSubmitted out;
  out.run = run;
  out.options = nlohmann::json::object();
  out.pipeline.name = "dag";
  out.pipeline.params = nlohmann::json::object();
  for (int i = 0; i < stages; ++i) {
    spec::StagePlan plan = stage_of("s" + std::to_string(i));
    for (int k = 0; i >= 100 && k < 3; ++k) {
      const std::string need = "s" + std::to_string(i / 100 * 100 - 100 + (i * 7 + k * 13) % 100);
      if (std::count(plan.needs.begin(), plan.needs.end(), need) == 0) plan.needs.push_back(need);
    }
    out.keys[plan.name] = run + plan.name;
    out.pipeline.stages.push_back(std::move(plan));
  }
  return out;
}

// One scheduler and nodes that finish everything at their next report.
class Drive {
 public:
  explicit Drive(int nodes) : scheduler_([](const auto&, const auto&, const auto&) { return StatusOr<bool>(true); }) {
    step(sched::Restarted{});
    for (int i = 0; i < nodes; ++i) {
      sched::NodeReport report{.node = "n" + std::to_string(i), .boot = 1};
      report.inventory = {.cores = 2, .memory_bytes = int64_t{64} << 30};
      step(report);
      deliver();
    }
  }

  void step(const sched::Input& input) {
    const auto start = Clock::now();
    sched::StepResult result = scheduler_.step(input, ++now_);
    steps_us_.push_back(seconds_since(start) * 1e6);
    for (Record& record : result.records) records_.push_back(std::move(record));
    for (sched::Action& action : result.actions) act(action);
  }

  void deliver() {
    for (; !inputs_.empty(); inputs_.pop_front()) step(inputs_.front());
  }

  double step_us(double quantile) {
    std::sort(steps_us_.begin(), steps_us_.end());
    return steps_us_[static_cast<size_t>(quantile * static_cast<double>(steps_us_.size() - 1))];
  }

  const std::vector<Record>& records() const { return records_; }
  const Scheduler& scheduler() const { return scheduler_; }
  size_t steps() const { return steps_us_.size(); }
  void forget_times() { steps_us_.clear(); }

 private:
  void act(const sched::Action& action) {
    if (const auto* find = std::get_if<sched::FindArtifact>(&action)) {
      inputs_.push_back(sched::ArtifactMissing{find->run, find->stage, find->key});
    }
    const auto* sync = std::get_if<sched::SyncNode>(&action);
    if (sync == nullptr || sync->desired.attempts.empty()) return;
    sched::NodeReport report{.node = sync->desired.node, .boot = 1, .session = sync->desired.session};
    report.seq = ++seq_;
    report.applied = sync->desired.revision;
    report.inventory = {.cores = 2, .memory_bytes = int64_t{64} << 30};
    for (const sched::DesiredAttempt& attempt : sync->desired.attempts) {
      sched::AttemptReport one{.epoch = attempt.epoch, .phase = sched::Phase::kFinished};
      one.summary = {{"bytes", 1}};
      report.attempts.push_back(std::move(one));
    }
    inputs_.push_back(std::move(report));
  }

  Scheduler scheduler_;
  sched::Tick now_ = 0;
  uint64_t seq_ = 0;
  std::deque<sched::Input> inputs_;
  std::vector<Record> records_;
  std::vector<double> steps_us_;
};

int run() {
  Drive drive(1'000);
  drive.forget_times();
  const double before_mib = peak_mib();
  auto start = Clock::now();
  drive.step(layered("r0", 10'000));
  drive.deliver();
  const double took = seconds_since(start);
  const bool done = drive.scheduler().find_run("r0")->state == sched::RunState::kSucceeded;
  std::printf("10,000 stages on 1,000 nodes: %s in %.2f s, %zu steps, %zu records\n", done ? "done" : "NOT DONE", took,
              drive.steps(), drive.records().size());
  std::printf("RESULT dag_stages_per_s %.0f 1/s\n", 10'000 / took);
  std::printf("RESULT decision_p50 %.1f us\nRESULT decision_p99 %.1f us\n", drive.step_us(0.5), drive.step_us(0.99));
  std::printf("RESULT memory_per_stage %.2f KiB\n", (peak_mib() - before_mib) * 1024 / 10'000);
  for (int i = 1; drive.records().size() < 100'000; ++i) {
    drive.step(layered("r" + std::to_string(i), 10'000));
    drive.deliver();
  }
  std::vector<std::string> lines;
  for (size_t i = 0; i < 100'000; ++i) lines.push_back(to_json(drive.records()[i]).dump());
  start = Clock::now();
  std::vector<Record> records;
  for (const std::string& line : lines) {
    auto record = sched::record_from_json(nlohmann::json::parse(line));
    if (!record.ok()) return 1;
    records.push_back(*std::move(record));
  }
  const double parsed = seconds_since(start);
  const auto again = Scheduler::replay(records, nullptr);
  std::printf("RESULT replay_100k_records %.2f s\n", seconds_since(start));
  std::printf("of which %.2f s to read them\n", parsed);
  return done && again.ok() ? 0 : 1;
}

}  // namespace
}  // namespace gridquant

int main() {
  return gridquant::run();
}
