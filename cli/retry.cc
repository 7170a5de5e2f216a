// gridquant retry: a new run of the same pipeline; what the old one finished is not done again.
#include <optional>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/follow_command.h"
#include "cli/interrupts.h"
#include "cli/place.h"

namespace gridquant::cli {
namespace {

struct RetryOptions {
  std::string run, format;
  bool watch = false;
};

void retry(Invocation& invocation, const Place& place, const RetryOptions& options) {
  std::optional<SignalInterrupts> interrupts;  // before gRPC's threads: they must not take signals
  if (options.watch) interrupts.emplace();
  const auto client = connect(place);
  v1::RetryRunRequest request;
  request.set_run(options.run);
  const StatusOr<v1::RetryRunResponse> answer = client->call(request);
  if (!answer.ok()) return fail(invocation, options.format, answer.status(), exit_code_of_refusal(answer.status()));
  if (options.format == "json") {
    const nlohmann::json out = {{"event", "submitted"}, {"run", answer->run()}, {"retryOf", options.run}};
    invocation.out << out.dump() << "\n" << std::flush;
  } else {
    invocation.out << answer->run() << " submitted, as " << options.run << " was\n" << std::flush;
  }
  if (options.watch) FollowCommand(invocation, *client, *interrupts, options.format).execute(answer->run());
}

}  // namespace

void add_retry(Command app, Invocation& invocation) {
  const Command command = app.add_command("retry", "Runs again what failed or was cancelled; keeps what was finished");
  const auto options = std::make_shared<RetryOptions>();
  command.add_option("RUN", options->run, "Run that is over without success").required();
  command.add_flag("--watch", options->watch, "Follow the new run until it is over; Ctrl-C leaves it going");
  add_format_option(command, options->format);
  const auto place = add_coordinator_options(command, invocation);
  command.on_given([&invocation, place, options] { retry(invocation, *place, *options); });
}

}  // namespace gridquant::cli
