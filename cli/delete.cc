// gridquant delete: a coordinator forgets runs that are over. Their artifacts stay until gridquant gc.
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"
#include "cli/remote.h"

namespace gridquant::cli {

void add_delete(Command app, Invocation& invocation) {
  const Command command = app.add_command("delete", "Makes a coordinator forget runs that are over");
  const auto runs = std::make_shared<std::vector<std::string>>();
  command.add_option("RUN", *runs, "Runs or batches").required();
  const auto place = add_coordinator_options(command, invocation);
  command.set_footer("Output folders stay; stored results stay until gridquant gc.");
  command.on_given([&invocation, place, runs] {
    const auto client = connect(*place);
    std::vector<std::string> all;
    for (const std::string& id : *runs) {
      const StatusOr<std::vector<std::string>> of = runs_of(*client, id);
      if (!of.ok()) return fail(invocation, "text", of.status(), exit_code_of_refusal(of.status()));
      all.insert(all.end(), of->begin(), of->end());
    }
    for (const std::string& run : all) {
      v1::DeleteRunRequest request;
      request.set_run(run);
      const Status status = client->call(request).status();
      if (!status.ok()) return fail(invocation, "text", status, exit_code_of_refusal(status));
      invocation.out << run << " deleted\n";
    }
  });
}

}  // namespace gridquant::cli
