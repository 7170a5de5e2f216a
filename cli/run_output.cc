// What the bodies of RunOutput share, and the body that writes JSON lines.
#include "cli/run_output.h"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace gridquant::cli {
namespace {

using nlohmann::json;

class JsonOutput final : public RunOutput {
 public:
  explicit JsonOutput(std::ostream& out) : out_(out) {}

  void run_started(const std::string& run, const std::string& pipeline,
                   const std::vector<std::string>& stages) override {
    emit({{"event", "run_started"}, {"run", run}, {"pipeline", pipeline}, {"stages", stages}});
  }
  void stage_changed(const StageChange& change) override {
    json event = {{"event", "stage"}, {"stage", change.stage}, {"uses", change.uses}, {"state", change.state}};
    if (!change.reason.empty()) event["reason"] = change.reason;
    if (change.attempt > 0) event["attempt"] = change.attempt;
    if (change.seconds > 0) event["seconds"] = change.seconds;
    if (change.cached) event["cached"] = true;
    if (!change.nodes.empty()) event["nodes"] = change.nodes;
    if (change.state == "waiting") event["retryInSeconds"] = change.retry_in_s;
    emit(std::move(event));
  }
  void progress(const Progress& progress) override {
    emit({{"event", "progress"},
          {"stage", progress.stage},
          {"done", progress.done},
          {"total", progress.total},
          {"unit", progress.unit},
          {"message", progress.message}});
  }
  void message(const std::string& stage, const std::string& level, const std::string& text) override {
    emit({{"event", level}, {"stage", stage}, {"message", text}});
  }
  void run_ended(const std::string& run, const std::string& state, const std::string& reason) override {
    emit({{"event", "run_ended"}, {"run", run}, {"state", state}, {"reason", reason}});
  }
  void delivered(const json& report, const std::string& output) override {
    emit({{"event", "delivered"}, {"output", output}, {"report", report}});
  }
  void about_event(uint64_t number) override { number_ = number; }
  void tick(int64_t) override {}

 private:
  void emit(json event) {
    event["seq"] = ++sequence_;
    if (number_ > 0) event["number"] = number_;
    out_ << event.dump(-1, ' ', false, json::error_handler_t::replace) << "\n" << std::flush;
  }

  std::ostream& out_;
  int64_t sequence_ = 0;
  uint64_t number_ = 0;
};

}  // namespace

std::unique_ptr<RunOutput> make_json_output(std::ostream& out) {
  return std::make_unique<JsonOutput>(out);
}

void Rate::update(int64_t done, const std::string& what, int64_t now_ms) {
  if (first_done_ < 0 || done < first_done_ || what != what_) {
    first_done_ = done;
    first_ms_ = now_ms;
    what_ = what;
  }
  last_done_ = done;
  last_ms_ = now_ms;
}

double Rate::seconds_left(int64_t total, int64_t now_ms) const {
  if (first_done_ < 0 || last_done_ <= first_done_ || last_ms_ <= first_ms_) return -1;
  const double per_unit_ms = static_cast<double>(last_ms_ - first_ms_) / static_cast<double>(last_done_ - first_done_);
  // Between two reports it counts down, rather than growing with the time that the next one takes.
  const double left_ms = per_unit_ms * static_cast<double>(total - last_done_) - static_cast<double>(now_ms - last_ms_);
  return std::max(left_ms, 0.0) / 1000.0;
}

std::string show_seconds(double seconds) {
  char text[48];
  const int64_t whole = static_cast<int64_t>(seconds + 0.5);
  if (seconds < 9.95) {
    std::snprintf(text, sizeof(text), "%.1f s", seconds);
  } else if (whole < 60) {
    std::snprintf(text, sizeof(text), "%lld s", static_cast<long long>(whole));
  } else if (whole < 3600) {
    std::snprintf(text, sizeof(text), "%lld min %02lld s", static_cast<long long>(whole / 60),
                  static_cast<long long>(whole % 60));
  } else {
    std::snprintf(text, sizeof(text), "%lld h %02lld min", static_cast<long long>(whole / 3600),
                  static_cast<long long>(whole % 3600 / 60));
  }
  return text;
}

std::string show_change(const StageChange& change) {
  if (change.cached) return "cached";
  if (change.state == "succeeded") return "done in " + show_seconds(change.seconds);
  if (change.state == "running") {
    const std::string what = change.attempt > 1 ? "attempt " + std::to_string(change.attempt) : "started";
    return what + (change.nodes.empty() ? "" : " on " + change.nodes);
  }
  if (change.state == "waiting") return change.reason + "; again in " + show_seconds(change.retry_in_s);
  return change.reason.empty() ? change.state : change.state + ": " + change.reason;
}

}  // namespace gridquant::cli
