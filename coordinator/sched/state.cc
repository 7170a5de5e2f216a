// Names of the states, and the state's canonical text and digest: one walk over the fields, two sinks.
#include "coordinator/sched/state.h"

#include <cstring>
#include <string_view>

#include "coordinator/sched/pipeline_json.h"

namespace gridquant::sched {
namespace {

using nlohmann::json;

class TextSink {
 public:
  void text(std::string_view name, std::string_view value) { out_.append(name).append("=").append(value).append("\n"); }
  void number(std::string_view name, int64_t value) { text(name, std::to_string(value)); }
  void value(std::string_view name, const json& value) { text(name, value.dump()); }
  void pipeline(const Run& run) {
    spec::Pipeline whole = run.pipeline;
    for (const Stage& stage : run.stages) whole.stages.push_back(stage.plan);
    value("pipeline", to_json(whole));
    value("options", run.options);
  }
  void note(const json& note) { value("cacheNote", note); }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// What never changes after a run was submitted is in the digest by its names only.
class HashSink {
 public:
  void text(std::string_view, std::string_view value) {
    number("", static_cast<int64_t>(value.size()));
    while (value.size() >= 8) {
      int64_t word = 0;
      std::memcpy(&word, value.data(), 8);
      number("", word);
      value.remove_prefix(8);
    }
    int64_t rest = 0;
    std::memcpy(&rest, value.data(), value.size());
    number("", rest);
  }
  void number(std::string_view, int64_t value) {
    const auto bits = static_cast<uint64_t>(value);
    a_ = (a_ ^ bits) * 0x9E3779B97F4A7C15ull;
    a_ ^= a_ >> 29;
    b_ = (b_ + bits) * 0xD6E8FEB86659FD93ull;
    b_ ^= b_ >> 32;
  }
  void value(std::string_view, const json& value) {
    if (value.empty()) return number("", 0);
    text("", value.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  void pipeline(const Run& run) { text("", run.pipeline.name); }
  void note(const json&) {}
  std::string take() const {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string digest;
    for (const uint64_t half : {a_, b_}) {
      for (int shift = 60; shift >= 0; shift -= 4) digest += kDigits[(half >> shift) & 15];
    }
    return digest;
  }

 private:
  uint64_t a_ = 14695981039346656037ull, b_ = 1099511628211ull;
};

template <class Sink>
void walk(Sink& sink, const Attempt& attempt) {
  sink.number("attempt", attempt.number);
  sink.number("epoch", static_cast<int64_t>(attempt.epoch));
  sink.text("node", attempt.node);
  sink.number("ranks", attempt.ranks);
  sink.number("granted", attempt.granted_ms);
  sink.number("started", attempt.started_ms);
  sink.number("finished", attempt.finished_ms);
  sink.number("pid", attempt.pid);
  sink.text("stopping", attempt.stopping);
  sink.text("outcome", attempt.outcome);
  sink.number("exitCode", attempt.exit_code);
  sink.text("errorCode", attempt.error_code);
  sink.text("message", attempt.message);
}

template <class Sink>
void walk(Sink& sink, const Stage& stage) {
  sink.text("stage", stage.plan.name);
  sink.text("key", stage.key);
  sink.note(stage.cache_note);
  sink.text("state", name_of(stage.state));
  sink.text("reason", stage.reason);
  sink.number("flags", (stage.cached ? 1 : 0) + (stage.fresh ? 2 : 0));
  sink.text("freshOrder", stage.fresh_order);
  sink.number("infrastructureFailures", stage.infrastructure_failures);
  sink.number("nodeLosses", stage.node_losses);
  sink.number("drains", stage.drains);
  sink.number("remakes", stage.remakes);
  sink.number("since", stage.since_ms);
  sink.number("queued", stage.queued_ms);
  sink.number("notBefore", stage.not_before_ms);
  sink.number("deadline", stage.deadline_ms);
  sink.value("summary", stage.summary);
  for (const Attempt& attempt : stage.attempts) walk(sink, attempt);
}

template <class Sink>
void walk(Sink& sink, const Run& run) {
  sink.text("run", run.id);
  sink.number("number", static_cast<int64_t>(run.number));
  sink.pipeline(run);
  sink.number("flags", (run.use_cache ? 1 : 0) + (run.paused ? 2 : 0) + (run.timed_out ? 4 : 0));
  sink.text("batch", run.batch);
  sink.text("retryOf", run.retry_of);
  sink.text("state", name_of(run.state));
  sink.text("reason", run.reason);
  sink.number("created", run.created_ms);
  sink.number("started", run.started_ms);
  sink.number("finished", run.finished_ms);
  sink.number("delivery", static_cast<int64_t>(run.delivery));
  sink.text("deliveryError", run.delivery_error);
  sink.number("events", static_cast<int64_t>(run.events));
  for (const Stage& stage : run.stages) walk(sink, stage);
}

template <class Sink>
void walk(Sink& sink, const Lease& lease) {
  sink.text("run", lease.run);
  sink.number("stage", static_cast<int64_t>(lease.stage));
  sink.text("stopping", lease.stopping);
  sink.number("grace", lease.grace_ms);
  sink.text("fresh", lease.fresh);
  for (const Member& member : lease.members) {
    sink.text("member", member.node);
    sink.number("session", static_cast<int64_t>(member.session));
    sink.number("ranks", member.ranks);
    sink.number("cores", member.cores);
    sink.number("memory", member.memory_bytes);
    sink.number("gpus", static_cast<int64_t>(member.gpus));
    sink.number("state", static_cast<int64_t>(member.state));
  }
}

template <class Sink>
void walk(Sink& sink, const Node& node) {
  sink.number("cores", node.cores);
  sink.number("memory", node.memory_bytes);
  sink.number("gpus", node.gpus);
  for (const auto& [key, value] : node.labels) sink.text(key, value);
  sink.number("session", static_cast<int64_t>(node.session));
  sink.text("home", node.home);
  sink.number("boot", node.boot);
  sink.number("flags", (node.alive ? 1 : 0) + (node.draining ? 2 : 0) + (node.leaving ? 4 : 0));
  sink.number("drainDeadline", node.drain_deadline_ms);
}

template <class Sink>
void walk(Sink& sink, const State& state) {
  sink.number("lastEpoch", static_cast<int64_t>(state.last_epoch));
  sink.number("lastRun", static_cast<int64_t>(state.last_run));
  sink.number("incarnation", static_cast<int64_t>(state.incarnation));
  for (const auto& [id, run] : state.runs) walk(sink, run);
  for (const auto& [name, node] : state.nodes) {
    sink.text("node", name);
    walk(sink, node);
  }
  for (const auto& [epoch, lease] : state.leases) {
    sink.number("lease", static_cast<int64_t>(epoch));
    walk(sink, lease);
  }
  for (const auto& [name, queue] : state.queues) {
    sink.text("queue", name);
    sink.number("cores", queue.cores);
    sink.number("gpus", queue.gpus);
    sink.number("memory", queue.memory_bytes);
  }
  for (const auto& [id, batch] : state.batches) {
    sink.text("batch", id);
    sink.text("name", batch.name);
    for (const std::string& run : batch.runs) sink.text("run", run);
    sink.number("maxParallel", batch.max_parallel);
    sink.number("failFast", batch.fail_fast ? 1 : 0);
  }
  for (const std::string& id : state.request_order) {
    sink.text("request", id);
    sink.text("result", state.requests.at(id).digest + state.requests.at(id).result);
  }
}

}  // namespace

const char* name_of(StageState state) {
  switch (state) {
    case StageState::kPending:
      return "pending";
    case StageState::kLooking:
      return "looking";
    case StageState::kReady:
      return "ready";
    case StageState::kRunning:
      return "running";
    case StageState::kWaiting:
      return "waiting";
    case StageState::kSucceeded:
      return "succeeded";
    case StageState::kFailed:
      return "failed";
    case StageState::kSkipped:
      return "skipped";
    case StageState::kCancelled:
      return "cancelled";
  }
  return "";
}

const char* name_of(RunState state) {
  switch (state) {
    case RunState::kQueued:
      return "queued";
    case RunState::kRunning:
      return "running";
    case RunState::kCancelling:
      return "cancelling";
    case RunState::kSucceeded:
      return "succeeded";
    case RunState::kFailed:
      return "failed";
    case RunState::kCancelled:
      return "cancelled";
    case RunState::kInterrupted:
      return "interrupted";
  }
  return "";
}

bool is_over(StageState state) {
  return state == StageState::kSucceeded || state == StageState::kFailed || state == StageState::kSkipped ||
         state == StageState::kCancelled;
}

bool is_over(RunState state) {
  return state != RunState::kQueued && state != RunState::kRunning && state != RunState::kCancelling;
}

std::string to_text(const State& state) {
  TextSink sink;
  walk(sink, state);
  return sink.take();
}

std::string digest_of(const State& state) {
  HashSink sink;
  walk(sink, state);
  return sink.take();
}

}  // namespace gridquant::sched
