// gridquant pause and resume: nothing new of a run starts meanwhile; what runs goes on.
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "cli/remote.h"

namespace gridquant::cli {
namespace {

template <class Request>
Status change_all(Invocation& invocation, client::Client& client, const std::string& id, const std::string& done) {
  GQ_ASSIGN_OR_RETURN(const std::vector<std::string> runs, runs_of(client, id));
  const bool is_batch = runs.size() != 1 || runs[0] != id;
  for (const std::string& run : runs) {
    Request request;
    request.set_run(run);
    const Status status = client.call(request).status();
    if (is_batch && status.code() == absl::StatusCode::kFailedPrecondition) continue;  // it is over
    if (!status.ok()) return is_batch ? annotate(status, "run " + run) : status;
    invocation.out << run << " " << done << "\n";
  }
  return absl::OkStatus();
}

template <class Request>
void add_change(Command app, Invocation& invocation, const std::string& name, const std::string& help,
                const std::string& done) {
  const Command command = app.add_command(name, help);
  const auto id = std::make_shared<std::string>();
  command.add_option("RUN", *id, "Run or batch").required();
  const auto place = add_coordinator_options(command, invocation);
  command.on_given([&invocation, place, id, done] {
    const Status status = change_all<Request>(invocation, *connect(*place), *id, done);
    if (!status.ok()) fail(invocation, "text", status, exit_code_of_refusal(status));
  });
}

}  // namespace

void add_pause(Command app, Invocation& invocation) {
  add_change<v1::PauseRunRequest>(app, invocation, "pause",
                                  "Starts nothing new of a run or batch; what runs goes on to its end", "paused");
  add_change<v1::ResumeRunRequest>(app, invocation, "resume", "Takes a pause back", "resumed");
}

}  // namespace gridquant::cli
