// What durability costs: the coordinator's owner thread with its SQLite store on a real disk, and one agent in the same
// process that finishes everything at once. Without gRPC and without processes. bench_control_durable FOLDER [stages]
// prints RESULT lines; FOLDER is made, and is to be on the disk that is asked about.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "coordinator/control/core.h"
#include "coordinator/store/state_store.h"

namespace gridquant {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

// Finishes what is wanted as soon as it is told; every state it is told is answered with one report.
class Agent {
 public:
  explicit Agent(control::Core& core) : core_(core), sink_(std::make_shared<Sink>()) {
    report({});
    thread_ = std::thread([this] { loop(); });
  }
  ~Agent() {
    {
      absl::MutexLock lock(&sink_->mutex);
      sink_->over = true;
    }
    thread_.join();
  }
  // From the report that told a stage's end to the state that lists a stage not seen before, in ms.
  std::vector<double> take_hops() {
    absl::MutexLock lock(&sink_->mutex);
    return std::move(sink_->hops);
  }

 private:
  struct Sink : control::NodeSink {
    void desired(control::AssignedState state) override {
      absl::MutexLock lock(&mutex);
      for (const control::Assignment& one : state.attempts) {
        if (one.desired.epoch <= last_epoch) continue;
        last_epoch = one.desired.epoch;
        if (reported) hops.push_back(ms_since(reported_at));
      }
      latest = std::move(state);
      fresh = true;
    }
    absl::Mutex mutex;
    control::AssignedState latest;
    bool fresh = false, over = false, reported = false;
    uint64_t last_epoch = 0;
    Clock::time_point reported_at;
    std::vector<double> hops;
  };

  void loop() {
    while (true) {
      control::AssignedState state;
      {
        absl::MutexLock lock(&sink_->mutex);
        sink_->mutex.Await(absl::Condition(
            +[](Sink* sink) { return sink->fresh || sink->over; }, sink_.get()));
        if (sink_->over) return;
        state = std::move(sink_->latest);
        sink_->fresh = false;
      }
      report(state);
    }
  }

  void report(const control::AssignedState& state) {
    sched::NodeReport report{.node = "n1", .boot = 1, .session = state.desired.session, .seq = ++seq_};
    report.applied = state.desired.revision;
    report.inventory = {.cores = 64, .memory_bytes = int64_t{64} << 30};
    for (const control::Assignment& one : state.attempts) {
      report.attempts.push_back({.epoch = one.desired.epoch, .phase = sched::Phase::kFinished});
    }
    if (!report.attempts.empty()) {
      absl::MutexLock lock(&sink_->mutex);
      sink_->reported = true;
      sink_->reported_at = Clock::now();
    }
    if (const Status sent = core_.report(std::move(report), sink_, nullptr); !sent.ok()) std::abort();
  }

  control::Core& core_;
  std::shared_ptr<Sink> sink_;
  uint64_t seq_ = 0;
  std::thread thread_;
};

sched::RunSubmitted run_of(const std::string& name, int stages, bool chain) {
  sched::RunSubmitted out;
  out.pipeline.name = name;
  out.pipeline.params = nlohmann::json::object();
  out.options = nlohmann::json::object();
  out.request = "bench-" + name;
  for (int i = 0; i < stages; ++i) {
    spec::StagePlan plan;
    plan.name = "s" + std::to_string(i);
    plan.uses = "no-op";
    plan.with = nlohmann::json::object();
    plan.cores = 1;
    if (chain && i > 0) plan.needs = {"s" + std::to_string(i - 1)};
    out.keys[plan.name] = name + plan.name + std::string(32, '0');  // nobody has made it: it is looked for on the disk
    out.pipeline.stages.push_back(std::move(plan));
  }
  return out;
}

class Bench {
 public:
  Bench(const std::string& folder, store::StateStore& store)
      : executor_(control::make_thread_executor(1)),
        core_({base::posix_env(), base::system_clock(), store, *executor_},
              {.store = folder, .store_id = "", .secret = "bench"}) {}

  int measure(int stages) {
    if (!core_.recover().ok()) return 1;
    std::thread owner([this] {
      for (; !over_; core_.wait()) {
        if (const Status turned = core_.turn(); !turned.ok()) std::abort();
      }
    });
    {
      Agent agent(core_);
      auto start = Clock::now();
      finish(submit(run_of("wide", stages, false)));
      std::printf("RESULT durable_stages_per_s %.0f 1/s\n", 1e3 * stages / ms_since(start));
      agent.take_hops();
      finish(submit(run_of("chain", 300, true)));
      const std::vector<double> hops = agent.take_hops();
      std::printf("RESULT hop_p50 %.2f ms\nRESULT hop_p99 %.2f ms\n", quantile(hops, 0.5), quantile(hops, 0.99));
      std::vector<double> submits;
      for (int i = 0; i < 200; ++i) {
        start = Clock::now();
        const std::string run = submit(run_of("tiny-" + std::to_string(i), 1, false));
        submits.push_back(ms_since(start));
        finish(run);
      }
      std::printf("RESULT submit_p50 %.2f ms\nRESULT submit_p99 %.2f ms\n", quantile(submits, 0.5),
                  quantile(submits, 0.99));
    }
    over_ = true;
    core_.wake();
    owner.join();
    return 0;
  }

 private:
  std::string submit(sched::RunSubmitted submitted) {
    absl::Notification acknowledged;
    std::string run;
    const Status posted = core_.post(std::move(submitted), [&](const StatusOr<std::string>& result) {
      if (!result.ok()) std::abort();
      run = *result;
      acknowledged.Notify();
    });
    if (!posted.ok()) std::abort();
    acknowledged.WaitForNotification();
    return run;
  }

  // Waits until the run's last record is durable.
  void finish(const std::string& run) {
    uint64_t after = 0;
    while (true) {
      absl::Notification page;
      bool ended = false;
      const auto done = [&](const StatusOr<control::WatchPage>& got) {
        if (!got.ok()) std::abort();
        for (const sched::Record& record : got->records) {
          after = record.seq;
          ended = ended || record.type == sched::RecordType::kRunFinished;
        }
        page.Notify();
      };
      control::WatchCall call{.run = run, .after = after, .after_notes = ~uint64_t{0}, .wait = true, .done = done};
      if (!core_.watch(core_.next_id(), std::move(call)).ok()) std::abort();
      page.WaitForNotification();
      if (ended) return;
    }
  }

  std::unique_ptr<control::Executor> executor_;
  control::Core core_;
  std::atomic<bool> over_ = false;
};

int run(const std::string& folder, int stages) {
  std::filesystem::create_directories(folder);
  auto store = store::open_sqlite_store(folder, store::Access::kReadWrite);
  if (!store.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(store.status().message()).c_str());
    return 1;
  }
  return Bench(folder, **store).measure(stages);
}

}  // namespace
}  // namespace gridquant

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_control_durable FOLDER [stages]\n");
    return 2;
  }
  return gridquant::run(argv[1], argc > 2 ? std::atoi(argv[2]) : 4'000);
}
