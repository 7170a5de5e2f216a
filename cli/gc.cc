// gridquant gc: a coordinator removes stored results and logs that no run refers to.
#include <cstdio>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/place.h"

namespace gridquant::cli {
namespace {

struct GcOptions {
  bool dry_run = false;
  int64_t min_age_ms = -1;
  std::string format;
};

std::string show_bytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

void collect(Invocation& invocation, const Place& place, const GcOptions& options) {
  v1::CollectGarbageRequest request;
  request.set_dry_run(options.dry_run);
  if (options.min_age_ms >= 0) request.set_min_age_ms(options.min_age_ms);
  const StatusOr<v1::CollectGarbageResponse> answer = connect(place)->call(request);
  if (!answer.ok()) return fail(invocation, options.format, answer.status(), exit_code_of_refusal(answer.status()));
  const std::vector<std::string> removed(answer->removed().begin(), answer->removed().end());
  if (options.format == "json") {
    return print_json(invocation, {{"dryRun", options.dry_run},
                                   {"removed", removed},
                                   {"removedCount", answer->removed_count()},
                                   {"removedBytes", answer->removed_bytes()}});
  }
  for (const std::string& folder : removed) invocation.out << folder << "\n";
  const bool one = answer->removed_count() == 1;
  invocation.out << answer->removed_count() << (one ? " folder" : " folders") << ", "
                 << show_bytes(answer->removed_bytes()) << (options.dry_run ? " would be removed\n" : " removed\n");
}

}  // namespace

void add_gc(Command app, Invocation& invocation) {
  const Command command =
      app.add_command("gc", "Removes a coordinator's stored results and logs that no run refers to");
  const auto options = std::make_shared<GcOptions>();
  command.add_flag("--dry-run", options->dry_run, "Only say what would be removed");
  command.add_option("--min-age", options->min_age_ms, "Keep what is younger, such as 90s, 2h (default 1h)")
      .duration_in_ms();
  add_format_option(command, options->format);
  const auto place = add_coordinator_options(command, invocation);
  command.set_footer(
      "Delivered files are links of their own: output folders keep theirs. A coordinator that is restarted meanwhile\n"
      "begins again: what is listed as removed is then what the first try had left.");
  command.on_given([&invocation, place, options] { collect(invocation, *place, *options); });
}

}  // namespace gridquant::cli
