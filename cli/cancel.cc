// gridquant cancel: stops a run, or every run of a batch, of a coordinator.
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "cli/remote.h"

namespace gridquant::cli {
namespace {

struct CancelOptions {
  std::string id, reason;
  bool force = false;
};

Status cancel_all(Invocation& invocation, client::Client& client, const CancelOptions& options) {
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> runs, runs_of(client, options.id));
  const bool is_batch = runs.size() != 1 || runs[0] != options.id;
  size_t cancelled = 0;
  for (const std::string& run : runs) {
    v1::CancelRunRequest request;
    request.set_run(run);
    request.set_reason(options.reason);
    request.set_force(options.force);
    const Status status = client.call(request).status();
    const bool was_over = status.code() == absl::StatusCode::kFailedPrecondition;
    if (!status.ok() && !(is_batch && was_over)) return is_batch ? annotate(status, "run " + run) : status;
    if (!status.ok()) continue;
    ++cancelled;
    invocation.out << run << (options.force ? " is being killed\n" : " is being cancelled\n");
  }
  if (cancelled == 0) return absl::FailedPreconditionError("every run of batch " + options.id + " is over");
  return absl::OkStatus();
}

}  // namespace

void add_cancel(Command app, Invocation& invocation) {
  const Command command = app.add_command("cancel", "Stops a run or a batch of a coordinator");
  const auto options = std::make_shared<CancelOptions>();
  command.add_option("RUN", options->id, "Run or batch").required();
  command.add_flag("--force", options->force, "No grace: kill the workers at once; also while it is being cancelled");
  command.add_option("--reason", options->reason, "Kept with the run, for whoever asks later");
  const auto place = add_coordinator_options(command, invocation);
  command.set_footer("What was finished is kept: gridquant retry RUN goes on there.");
  command.on_given([&invocation, place, options] {
    const Status status = cancel_all(invocation, *connect(*place), *options);
    if (!status.ok()) fail(invocation, "text", status, exit_code_of_refusal(status));
  });
}

}  // namespace gridquant::cli
