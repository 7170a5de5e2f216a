// gridquant logs: what the workers wrote to standard error, with their notes and warnings.
#include <chrono>
#include <map>
#include <ostream>
#include <thread>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "coordinator/store/workdir.h"
#include "engine/base/env.h"

namespace gridquant::cli {
namespace {

constexpr int kFollowMs = 200;
constexpr uint64_t kReadBytes = 1 << 16;

struct LogOptions {
  std::vector<std::string> words;
  int attempt = 0;  // 0: the last one
  int64_t tail_bytes = 0;
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

void print_local_logs(Invocation& invocation, const Place& place, const LogOptions& options) {
  const std::string workdir = absolute(invocation, place.workdir);
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

// Every line with its stage in front, unless only one stage is printed.
class PiecePrinter {
 public:
  PiecePrinter(std::ostream& out, bool with_stage) : out_(out), with_stage_(with_stage) {}
  void print(const v1::ReadLogsResponse& piece) {
    std::string prefix;
    const std::string attempt = piece.attempt() > 1 ? "#" + std::to_string(piece.attempt()) : "";
    if (with_stage_) prefix = piece.stage() + attempt + " | ";
    if (prefix != prefix_ && !at_line_start_) out_ << "\n", at_line_start_ = true;
    prefix_ = prefix;
    for (const char c : piece.data()) {
      if (at_line_start_) out_ << prefix;
      out_ << c;
      at_line_start_ = c == '\n';
    }
    out_ << std::flush;
  }

 private:
  std::ostream& out_;
  const bool with_stage_;
  bool at_line_start_ = true;
  std::string prefix_;
};

// A run that is over is asked for the last attempt of each stage, as a work folder; one that goes on for all of them.
Status print_remote_logs(Invocation& invocation, client::Client& client, const LogOptions& options) {
  GQ_ASSIGN_OR_RETURN(const RunAndStage what, load_run_and_stage(client, options.words));
  PiecePrinter printer(invocation.out, what.stage.empty());
  size_t pieces = 0;
  for (const sched::Stage& stage : what.view.run.stages) {
    const bool chosen = what.stage.empty() || what.stage == stage.plan.name;
    const int last = static_cast<int>(stage.attempts.size());
    if (!chosen || (!options.follow && (last == 0 || options.attempt > last))) continue;
    v1::ReadLogsRequest request;
    request.set_run(what.view.run.id);
    request.set_stage(stage.plan.name);
    request.set_attempt(options.attempt > 0 || options.follow ? options.attempt : last);
    request.set_follow(options.follow);
    request.set_tail_bytes(options.tail_bytes);
    const auto stream = client.logs(request);
    using Kind = client::StreamStep<v1::ReadLogsResponse>::Kind;
    for (auto step = stream->next(kFollowMs); step.kind != Kind::kEnded; step = stream->next(kFollowMs)) {
      if (!invocation.out.good()) return absl::OkStatus();
      if (step.kind == Kind::kCut) invocation.err << "connection lost, trying again\n" << std::flush;
      if (step.kind == Kind::kMessage) printer.print(*step.message), ++pieces;
    }
    const Status end = stream->next(0).status;
    if (!end.ok() && (end.code() != absl::StatusCode::kNotFound || !what.stage.empty())) return end;
  }
  if (pieces == 0) {
    return absl::NotFoundError(options.attempt > 0 ? "there is no log of an attempt " + std::to_string(options.attempt)
                                                   : "nothing was run here, so there is no log (see gridquant get)");
  }
  return absl::OkStatus();
}

void print_logs(Invocation& invocation, const Place& place, const LogOptions& options) {
  if (!place.remote()) return print_local_logs(invocation, place, options);
  const Status printed = print_remote_logs(invocation, *connect(place), options);
  if (!printed.ok()) fail(invocation, "text", printed, exit_code_of(printed));
}

}  // namespace

void add_logs(Command app, Invocation& invocation) {
  const Command command = app.add_command("logs", "Prints the logs of a run or of one of its stages");
  const auto options = std::make_shared<LogOptions>();
  add_run_and_stage(command, options->words, "Run (default: the latest), or a stage of the latest");
  command.add_flag("-f,--follow", options->follow, "Go on until the run is over");
  command.add_option("--attempt", options->attempt, "Attempt (default: the last)").in_range(1, 1'000'000);
  command.add_option("--tail-bytes", options->tail_bytes, "Of a coordinator's: only the last bytes of each log")
      .in_range(1, int64_t{1} << 40);
  const auto place = add_place_options(command, invocation);
  command.on_given([&invocation, place, options] { print_logs(invocation, *place, *options); });
}

}  // namespace gridquant::cli
