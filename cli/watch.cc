// gridquant watch: follows a run or a batch of a coordinator.
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/follow_command.h"
#include "cli/interrupts.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "engine/base/env.h"
#include "engine/eval/report.h"

namespace gridquant::cli {

using nlohmann::json;

void FollowCommand::execute(const std::string& id, uint64_t after) const {
  const Status followed = follow(id, after);
  if (!followed.ok()) fail(invocation_, format_, followed, exit_code_of(followed));
}

Status FollowCommand::follow(const std::string& id, uint64_t after) const {
  std::unique_ptr<RunOutput> output;
  if (format_ == "json") {
    output = make_json_output(invocation_.out);
  } else {
    output = invocation_.err_is_terminal ? make_bar_output(invocation_.err) : make_plain_output(invocation_.err);
  }
  const StatusOr<v1::Run> run = get_run(client_, id);
  if (run.ok()) return follow_one(*run, *output, after);
  if (run.status().code() != absl::StatusCode::kNotFound) return run.status();
  const Status as_batch = follow_many(id, *output);
  return as_batch.code() == absl::StatusCode::kNotFound ? run.status() : as_batch;
}

Status FollowCommand::follow_one(const v1::Run& run, RunOutput& output, uint64_t after) const {
  const Followed followed = follow_run(client_, run, output, interrupts_, after);
  if (followed.left) return leave(run.id()), absl::OkStatus();
  GQ_RETURN_IF_ERROR(followed.status);
  v1::GetRunRequest request;
  request.set_run(run.id());
  GQ_ASSIGN_OR_RETURN(const v1::GetRunResponse end, client_.call(request));
  switch (end.run().state()) {
    case v1::RUN_STATE_SUCCEEDED:
      if (end.run().delivery() == v1::DELIVERY_STATE_FAILED) {
        invocation_.exit_code = kExitRunFailed;
        output.message("", "warning", "the run succeeded, but was not delivered: " + end.run().delivery_error());
      } else if (end.run().delivery() == v1::DELIVERY_STATE_DONE) {
        show_report(end.run());
      }
      break;
    case v1::RUN_STATE_CANCELLED:
      invocation_.exit_code = kExitCancelled;
      break;
    default:
      invocation_.exit_code = kExitRunFailed;
      if (format_ != "json") {
        invocation_.err << "More: gridquant explain " << run.id() << ", gridquant logs " << run.id()
                        << "; to go on after what was finished: gridquant retry " << run.id() << "\n";
      }
  }
  return absl::OkStatus();
}

Status FollowCommand::follow_many(const std::string& batch, RunOutput& output) const {
  const Followed followed = follow_batch(client_, batch, output, interrupts_);
  if (followed.left) return leave(batch), absl::OkStatus();
  GQ_RETURN_IF_ERROR(followed.status);
  v1::GetBatchRequest request;
  request.set_batch(batch);
  GQ_ASSIGN_OR_RETURN(const v1::GetBatchResponse end, client_.call(request));
  for (const v1::Run& run : end.runs()) {
    if (run.state() != v1::RUN_STATE_SUCCEEDED) invocation_.exit_code = kExitRunFailed;
  }
  return absl::OkStatus();
}

void FollowCommand::leave(const std::string& id) const {
  invocation_.exit_code = kExitCancelled;
  if (format_ == "json") return;
  invocation_.err << id << " goes on. To look again: gridquant watch " << id << "; to stop it: gridquant cancel " << id
                  << "\n";
}

// The same summary as of `gridquant run`, where the output folder can be seen from here.
void FollowCommand::show_report(const v1::Run& run) const {
  const StatusOr<std::string> text = base::read_file(base::posix_env(), base::join_path(run.output(), "report.json"));
  const json report = text.ok() ? json::parse(*text, nullptr, /*allow_exceptions=*/false) : json();
  if (format_ == "json" || !report.is_object() || report.value("run", "") != run.id()) {
    if (format_ != "json") invocation_.err << "delivered into " << run.output() << "\n";
    return;
  }
  invocation_.out << eval::render_summary(report, invocation_.out_is_terminal) << std::flush;
}

void add_watch(Command app, Invocation& invocation) {
  const Command command = app.add_command("watch", "Follows a run or a batch of a coordinator until it is over");
  const auto id = std::make_shared<std::string>();
  const auto format = std::make_shared<std::string>();
  const auto after = std::make_shared<uint64_t>(0);
  command.add_option("RUN", *id, "Run or batch (default: the latest run)");
  command.add_option("--after", *after, "Only what comes after this event of the run (\"number\" in -o json)");
  const auto place = add_coordinator_options(command, invocation);
  add_format_option(command, *format);
  command.set_footer("Ctrl-C leaves the run going. Exit codes: 0 succeeded, 1 failed, 130 cancelled or left.");
  command.on_given([&invocation, id, place, format, after] {
    SignalInterrupts interrupts;  // before gRPC's threads: they must not take signals
    const auto client = connect(*place);
    FollowCommand(invocation, *client, interrupts, *format).execute(*id, *after);
  });
}

}  // namespace gridquant::cli
