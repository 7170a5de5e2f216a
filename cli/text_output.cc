// RunOutput for people: plain lines (a file, a pipe, a CI log), or one bar per running stage redrawn in place.
#include <algorithm>
#include <cstdio>
#include <map>
#include <ostream>

#include "cli/run_output.h"

namespace gridquant::cli {
namespace {

constexpr int64_t kPlainIntervalMs = 1'000;  // progress lines of one stage
constexpr int64_t kRedrawIntervalMs = 100;
constexpr int kBarWidth = 24;

std::string show_progress(const Progress& progress, const Rate& rate, int64_t now_ms) {
  std::string text = progress.unit + " " + std::to_string(progress.done);
  if (progress.total > 0) text += "/" + std::to_string(progress.total);
  const double left = rate.seconds_left(progress.total, now_ms);
  if (left >= 0 && progress.done < progress.total) text += ", " + show_seconds(left) + " left";
  return progress.message.empty() ? text : text + ", " + progress.message;
}

// What both share: states as lines.
class TextOutput : public RunOutput {
 public:
  explicit TextOutput(std::ostream& err) : err_(err) {}

  void run_started(const std::string& run, const std::string&, const std::vector<std::string>& stages) override {
    for (const std::string& stage : stages) width_ = std::max(width_, stage.size());
    line("run " + run);
  }
  void stage_changed(const StageChange& change) override {
    if (change.state == "pending" || change.state == "looking" || change.state == "ready") return;
    ended(change);
    line(padded(change.stage) + "  " + show_change(change));
  }
  void message(const std::string& stage, const std::string& level, const std::string& text) override {
    if (level == "info") line(text);
    if (level == "warning") line((stage.empty() ? "" : padded(stage) + "  ") + "warning: " + text);
  }
  void run_ended(const std::string& run, const std::string& state, const std::string& reason) override {
    line("run " + run + " " + state + (reason.empty() ? "" : ": " + reason));
  }
  void delivered(const nlohmann::json&, const std::string&) override {}  // the summary is printed by `run` itself

 protected:
  virtual void line(const std::string& text) { err_ << text << "\n" << std::flush; }
  virtual void ended(const StageChange&) {}
  std::string padded(const std::string& stage) const {
    return stage + std::string(width_ - std::min(width_, stage.size()), ' ');
  }

  std::ostream& err_;
  size_t width_ = 0;
  int64_t now_ms_ = 0;
};

class PlainOutput final : public TextOutput {
 public:
  using TextOutput::TextOutput;
  void progress(const Progress& progress) override {
    Last& last = last_[progress.stage];
    last.rate.update(progress.done, progress.message, now_ms_);
    if (last.printed && now_ms_ - last.at_ms < kPlainIntervalMs) return;
    last.printed = true;
    last.at_ms = now_ms_;
    line(padded(progress.stage) + "  " + show_progress(progress, last.rate, now_ms_));
  }
  void tick(int64_t now_ms) override { now_ms_ = now_ms; }

 protected:
  void ended(const StageChange& change) override { last_.erase(change.stage); }

 private:
  struct Last {
    Rate rate;
    bool printed = false;
    int64_t at_ms = 0;
  };
  std::map<std::string, Last> last_;
};

class BarOutput final : public TextOutput {
 public:
  using TextOutput::TextOutput;
  ~BarOutput() override { clear(); }

  void progress(const Progress& progress) override {
    Bar& bar = bars_[progress.stage];
    bar.progress = progress;
    bar.rate.update(progress.done, progress.message, now_ms_);
  }
  void tick(int64_t now_ms) override {
    now_ms_ = now_ms;
    if (now_ms - drawn_ms_ < kRedrawIntervalMs) return;
    clear();
    draw();
  }

 protected:
  void ended(const StageChange& change) override {
    bars_.erase(change.stage);
    if (change.state == "running") bars_[change.stage].progress.stage = change.stage;
  }
  void line(const std::string& text) override {
    clear();
    err_ << text << "\n";
    draw();
  }

 private:
  struct Bar {
    Progress progress;
    Rate rate;
  };

  void clear() {
    if (drawn_lines_ > 0) err_ << "\x1b[" << drawn_lines_ << "A\x1b[0J" << std::flush;
    drawn_lines_ = 0;
  }

  void draw() {
    for (const auto& [stage, bar] : bars_) {
      const Progress& at = bar.progress;
      const double share =
          at.total > 0 ? std::clamp(static_cast<double>(at.done) / static_cast<double>(at.total), 0.0, 1.0) : 0;
      const int full = static_cast<int>(share * kBarWidth);
      std::string text = padded(stage) + "  [" + std::string(static_cast<size_t>(full), '#') +
                         std::string(static_cast<size_t>(kBarWidth - full), '-') + "] ";
      if (at.total > 0) {
        char percent[16];
        std::snprintf(percent, sizeof(percent), "%3d %%  ", static_cast<int>(share * 100));
        text += percent + show_progress(at, bar.rate, now_ms_);
      }
      err_ << "\x1b[?7l" << text << "\x1b[?7h\n";  // no wrapping: one bar is one line, also in a narrow window
      ++drawn_lines_;
    }
    drawn_ms_ = now_ms_;
    err_ << std::flush;
  }

  std::map<std::string, Bar> bars_;
  int drawn_lines_ = 0;
  int64_t drawn_ms_ = 0;
};

}  // namespace

std::unique_ptr<RunOutput> make_plain_output(std::ostream& err) {
  return std::make_unique<PlainOutput>(err);
}
std::unique_ptr<RunOutput> make_bar_output(std::ostream& err) {
  return std::make_unique<BarOutput>(err);
}

}  // namespace gridquant::cli
