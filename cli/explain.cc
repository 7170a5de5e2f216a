// gridquant explain: why a stage waits, failed, was skipped, was cached or was not; or what a diagnostic code means.
#include <algorithm>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "cli/run_output.h"
#include "coordinator/deliver/times.h"
#include "coordinator/spec/codes.h"
#include "coordinator/store/workdir.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

// What to do about an exit code of the worker.
std::string remedy(int exit_code) {
  switch (static_cast<ExitCode>(exit_code)) {
    case ExitCode::kInput:
      return "Something that the stage reads is missing or malformed: the message names it. Mend it and run again.";
    case ExitCode::kParameters:
      return "A parameter cannot work with this model or text: change it in the pipeline file (or with -p) and run "
             "again; what has been finished is kept.";
    case ExitCode::kUnsupported:
      return "This build cannot do that; another model, format or parameter is needed.";
    case ExitCode::kInvariant:
      return "This is a fault of gridquant, not of your input: please report it with the log.";
    case ExitCode::kCorruption:
      return "Stored bytes differ from what was written, and making them again did not help: check the disk.";
    case ExitCode::kNoSpace:
      return "The disk is full: free some space, then run the same command again; finished blocks are kept.";
    case ExitCode::kCancelled:
      return "Run the same command again to go on after the last finished block.";
    case ExitCode::kTimeout:
      return "Raise the stage's timeout, or give it more cores; the same command goes on after the last finished "
             "block.";
    default:
      return "The machine or a process failed, not the input. The same command goes on after the last finished block; "
             "if it fails again, look at the log (memory?).";
  }
}

void explain_cache(std::ostream& out, const sched::Stage& stage) {
  const json& note = stage.cache_note;
  if (stage.cached) {
    out << "  cached: a stored result has the same key (" << stage.key.substr(0, 16) << ")\n";
    return;
  }
  if (stage.attempts.empty() || !note.is_object()) return;
  if (!note.contains("comparedWith")) {
    out << "  not cached: no stage of this name had been finished in this work folder before\n";
    return;
  }
  const std::string before = note["comparedWith"].get<std::string>();
  if (note["differs"].empty()) {
    out << "  not cached, though run " << before << " had made the same: --no-cache, or its result was damaged\n";
    return;
  }
  out << "  not cached: compared with run " << before << ", its key differs in\n";
  for (const json& line : note["differs"]) out << "    " << line.get<std::string>() << "\n";
}

void explain_wait(std::ostream& out, const sched::Run& run, const sched::Stage& stage) {
  if (stage.state == sched::StageState::kPending) {
    std::string waits;
    for (const size_t need : stage.needs) {
      const sched::Stage& other = run.stages[need];
      if (!is_over(other.state))
        waits += (waits.empty() ? "" : ", ") + other.plan.name + " (" + name_of(other.state) + ")";
    }
    out << "  waits for " << (waits.empty() ? "another stage that makes the same result" : waits) << "\n";
  }
  if (stage.state == sched::StageState::kReady) out << "  waits for free cores or memory on this machine\n";
  if (stage.state == sched::StageState::kWaiting) {
    out << "  waits until " << deliver::show_utc(stage.not_before_ms) << " before attempt " << stage.attempts.size() + 1
        << " of " << stage.plan.retry.max_attempts << "\n";
  }
}

// `log`: where the last attempt's lies, or how to see it.
void explain_attempts(std::ostream& out, const sched::Stage& stage, const std::string& log) {
  for (const sched::Attempt& attempt : stage.attempts) {
    if (attempt.outcome.empty() || attempt.outcome == "succeeded") continue;
    out << "  attempt " << attempt.number << " " << (attempt.outcome == "retry" ? "failed" : attempt.outcome)
        << " (exit code " << attempt.exit_code << (attempt.error_code.empty() ? "" : ", " + attempt.error_code)
        << "): " << attempt.message << "\n";
  }
  if (stage.attempts.empty()) return;
  const sched::Attempt& last = stage.attempts.back();
  if (last.outcome.empty() || last.outcome == "succeeded") return;
  out << "  what to do: " << remedy(last.exit_code) << "\n";
  out << "  log: " << log << "\n";
}

void explain_stage(std::ostream& out, const RunView& view, const sched::Stage& stage, const std::string& workdir) {
  const bool cut_off = view.state == "interrupted" && !is_over(stage.state);
  out << stage.plan.name << ": " << (cut_off ? "interrupted" : name_of(stage.state)) << "\n";
  if (cut_off) out << "  gridquant was ended meanwhile; the same command goes on after the last finished block\n";
  if (stage.state == sched::StageState::kSkipped) out << "  " << stage.reason << "\n";
  if (stage.state == sched::StageState::kFailed && stage.attempts.empty()) out << "  " << stage.reason << "\n";
  if (stage.state == sched::StageState::kCancelled && stage.attempts.empty()) out << "  " << stage.reason << "\n";
  if (!cut_off) explain_wait(out, view.run, stage);
  explain_cache(out, stage);
  const int last = stage.attempts.empty() ? 0 : stage.attempts.back().number;
  explain_attempts(out, stage, store::attempt_file(workdir, view.run.id, stage.plan.name, last, "log"));
}

// The coordinator's own sentence: it knows the nodes, the queues and who is ahead.
void explain_remote_stage(std::ostream& out, const RunView& view, const sched::Stage& stage,
                          const std::string& sentence) {
  out << stage.plan.name << ": " << name_of(stage.state) << "\n";
  if (!sentence.empty()) out << "  " << sentence << "\n";
  explain_cache(out, stage);
  explain_attempts(out, stage, "gridquant logs " + view.run.id + " " + stage.plan.name);
}

Status explain_remote(Invocation& invocation, client::Client& client, const std::vector<std::string>& words) {
  GQ_ASSIGN_OR_RETURN(const RunAndStage what, load_run_and_stage(client, words));
  v1::ExplainRunRequest request;
  request.set_run(what.view.run.id);
  request.set_stage(what.stage);
  GQ_ASSIGN_OR_RETURN(const v1::ExplainRunResponse answer, client.call(request));
  invocation.out << "run " << what.view.run.id << ": " << what.view.state << "\n";
  for (const std::string& note : what.view.notes) invocation.out << "  " << note << "\n";
  for (const v1::StageExplanation& explanation : answer.stages()) {
    const auto at = what.view.run.index.find(explanation.stage());
    if (at == what.view.run.index.end()) continue;
    explain_remote_stage(invocation.out, what.view, what.view.run.stages[at->second], explanation.sentence());
  }
  return absl::OkStatus();
}

bool looks_like_code(const std::string& word) {
  return word.size() >= 4 && (word.rfind("GQ", 0) == 0 || word.rfind("gq", 0) == 0) &&
         word.find_first_not_of("0123456789", 2) == std::string::npos;
}

void explain_code(Invocation& invocation, const std::string& word) {
  const spec::CodeInfo* info = spec::find_code(word);
  if (info == nullptr) {
    return fail(invocation, "text", absl::NotFoundError("there is no diagnostic code " + word), kExitNotFound);
  }
  invocation.out << spec::code_name(info->code) << ": " << info->meaning << "\n" << info->remedy << "\n";
}

void explain(Invocation& invocation, const std::vector<std::string>& words, const Place& place) {
  if (words.size() == 1 && looks_like_code(words[0])) return explain_code(invocation, words[0]);
  if (place.remote()) {
    const Status explained = explain_remote(invocation, *connect(place), words);
    if (!explained.ok()) fail(invocation, "text", explained, exit_code_of(explained));
    return;
  }
  const std::string workdir = absolute(invocation, place.workdir);
  const auto what = load_run_and_stage(workdir, words);
  if (!what.ok()) return fail(invocation, "text", what.status(), exit_code_of(what.status()));
  invocation.out << "run " << what->view.run.id << ": " << what->view.state << "\n";
  for (const sched::Stage& stage : what->view.run.stages) {
    if (what->stage.empty() || what->stage == stage.plan.name) {
      explain_stage(invocation.out, what->view, stage, workdir);
    }
  }
}

}  // namespace

void add_explain(Command app, Invocation& invocation) {
  const Command command =
      app.add_command("explain", "Says why a stage waits, failed or was (not) cached, or what a code means");
  const auto words = std::make_shared<std::vector<std::string>>();
  add_run_and_stage(command, *words, "Run (default: the latest), a stage of the latest, or a code such as GQ0103");
  const auto place = add_place_options(command, invocation);
  command.on_given([&invocation, words, place] { explain(invocation, *words, *place); });
}

}  // namespace gridquant::cli
