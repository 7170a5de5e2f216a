// gridquant logs: what the workers wrote to standard error, with their notes and warnings.
#include <chrono>
#include <map>
#include <ostream>
#include <thread>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/run_view.h"
#include "coordinator/store/workdir.h"
#include "engine/base/env.h"

namespace gridquant::cli {
namespace {

constexpr int kFollowMs = 200;
constexpr uint64_t kReadBytes = 1 << 16;

struct LogOptions {
  std::vector<std::string> words;
  std::string workdir;
  int attempt = 0;  // 0: the last one
  bool follow = false;
};

class LogPrinter {
 public:
  LogPrinter(Invocation& invocation, std::string workdir) : invocation_(invocation), workdir_(std::move(workdir)) {}

  // Prints what is new since the last call. Returns how many logs there are.
  size_t print(const RunAndStage& what, int wanted_attempt) {
    size_t count = 0;
    for (const sched::Stage& stage : what.view.run.stages) {
      if (!what.stage.empty() && stage.plan.name != what.stage) continue;
      const int last = static_cast<int>(stage.attempts.size());
      if (last == 0 || wanted_attempt > last) continue;
      const int attempt = wanted_attempt > 0 ? wanted_attempt : last;
      const std::string path = store::attempt_file(workdir_, what.view.run.id, stage.plan.name, attempt, "log");
      count += print_file(path, what.stage.empty() ? stage.plan.name + " | " : "") ? 1 : 0;
    }
    invocation_.out << std::flush;
    return count;
  }

 private:
  struct Position {
    uint64_t offset = 0;
    bool at_line_start = true;
  };

  bool print_file(const std::string& path, const std::string& prefix) {
    const auto file = env_.open(path);
    if (!file.ok()) return false;
    Position& position = positions_[path];
    std::string part;
    while (position.offset < (*file)->size()) {
      part.resize(std::min(kReadBytes, (*file)->size() - position.offset));
      const auto to = std::as_writable_bytes(std::span<char>(part.data(), part.size()));
      if (!(*file)->read(position.offset, to).ok()) break;
      position.offset += part.size();
      for (const char c : part) {
        if (position.at_line_start) invocation_.out << prefix;
        invocation_.out << c;
        position.at_line_start = c == '\n';
      }
    }
    return true;
  }

  Invocation& invocation_;
  std::string workdir_;
  base::Env& env_ = base::posix_env();
  std::map<std::string, Position> positions_;
};

void print_logs(Invocation& invocation, const LogOptions& options) {
  const std::string workdir = absolute(invocation, options.workdir);
  LogPrinter printer(invocation, workdir);
  while (true) {
    const auto what = load_run_and_stage(workdir, options.words);
    if (!what.ok()) return fail(invocation, "text", what.status(), exit_code_of(what.status()));
    const size_t count = printer.print(*what, options.attempt);
    const bool goes_on = what->view.state == "running" || what->view.state == "cancelling";
    if (options.follow && goes_on && invocation.out.good()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kFollowMs));
      continue;
    }
    if (count == 0) {
      const bool no_such_attempt = options.attempt > 0;
      return fail(invocation, "text",
                  absl::NotFoundError(no_such_attempt ? "there is no attempt " + std::to_string(options.attempt)
                                                      : "nothing was run here, so there is no log (see gridquant get)"),
                  kExitNotFound);
    }
    return;
  }
}

}  // namespace

void add_logs(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("logs", "Prints the logs of a run or of one of its stages");
  const auto options = std::make_shared<LogOptions>();
  command->add_option("WORDS", options->words, "[RUN] [STAGE] (default: all stages of the latest run)")->expected(0, 2);
  command->add_flag("-f,--follow", options->follow, "Go on until the run is over");
  command->add_option("--attempt", options->attempt, "Attempt (default: the last)")->check(CLI::Range(1, 1'000'000));
  add_workdir_option(*command, options->workdir);
  command->callback([&invocation, options] { print_logs(invocation, *options); });
}

}  // namespace gridquant::cli
