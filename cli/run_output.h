// How `gridquant run` tells what happens: plain lines, bars in a terminal, or JSON lines. The driver calls it from one
// thread; implementations only print.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace gridquant::cli {

struct StageChange {
  std::string stage, uses;
  std::string state;   // sched::name_of(StageState)
  std::string reason;  // for people; may be empty
  int attempt = 0;     // its number, if the change is about one
  bool cached = false;
  double seconds = 0;     // of the attempt, when it is over
  double retry_in_s = 0;  // state "waiting"
  std::string nodes{};    // state "running", on a cluster: "node-a (2 ranks), node-b (2 ranks)"
};

struct Progress {
  std::string stage;
  int64_t done = 0, total = 0;
  std::string unit, message;
};

class RunOutput {
 public:
  virtual ~RunOutput() = default;
  virtual void run_started(const std::string& run, const std::string& pipeline,
                           const std::vector<std::string>& stages) = 0;
  virtual void stage_changed(const StageChange& change) = 0;
  virtual void progress(const Progress& progress) = 0;
  // `level`: "warning", "note" (of a worker), "info" (of ours, for people at the terminal).
  virtual void message(const std::string& stage, const std::string& level, const std::string& text) = 0;
  virtual void run_ended(const std::string& run, const std::string& state, const std::string& reason) = 0;
  virtual void delivered(const nlohmann::json& report, const std::string& output) = 0;
  virtual void about_event(uint64_t number) { (void)number; }  // of a cluster: what follows is about it; 0: about none
  virtual void tick(int64_t now_ms) = 0;  // called often: the time, for rates and redrawing
};

std::unique_ptr<RunOutput> make_plain_output(std::ostream& err);
std::unique_ptr<RunOutput> make_bar_output(std::ostream& err);
std::unique_ptr<RunOutput> make_json_output(std::ostream& out);  // one object per line, with a sequence number

// Estimates what is left from the rate since the first progress (a resumed stage starts in the middle), or since what
// is being done changed its name (a resumed stage first catches up, which is faster).
class Rate {
 public:
  void update(int64_t done, const std::string& what, int64_t now_ms);
  double seconds_left(int64_t total, int64_t now_ms) const;  // < 0: not known yet

 private:
  int64_t first_done_ = -1, first_ms_ = 0;
  int64_t last_done_ = 0, last_ms_ = 0;
  std::string what_;
};

std::string show_seconds(double seconds);            // "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"
std::string show_change(const StageChange& change);  // "succeeded in 12 s", "cached", "failed: ..."

}  // namespace gridquant::cli
