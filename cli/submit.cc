// gridquant submit: gives a pipeline or batch file to a coordinator, and may follow what comes of it.
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "cli/follow_command.h"
#include "cli/interrupts.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "coordinator/client/errors.h"
#include "coordinator/spec/batch.h"
#include "engine/base/env.h"

namespace gridquant::cli {
namespace {

using nlohmann::json;

struct SubmitOptions {
  std::string file, output, idempotency_key;
  std::string format = "text";
  std::vector<std::string> params;
  bool watch = false, dry_run = false, no_cache = false;
};

class SubmitCommand {
 public:
  SubmitCommand(Invocation& invocation, const Place& place, const SubmitOptions& options)
      : invocation_(invocation), options_(options) {
    // Before gRPC's threads: they must not take signals.
    if (options_.watch && !options_.dry_run) interrupts_.emplace();
    client_ = connect(place);
  }

  void execute() {
    const StatusOr<v1::PipelineFile> file = read_file();
    if (!file.ok()) return fail(invocation_, options_.format, file.status(), kExitUsage);
    if (options_.dry_run) return check(*file);
    v1::SubmitRequest request;
    request.set_request_id(options_.idempotency_key);
    *request.mutable_file() = *file;
    request.set_output(options_.output);
    request.set_no_cache(options_.no_cache);
    const StatusOr<v1::SubmitResponse> answer = client_->call(request);
    if (!answer.ok()) return refuse(answer.status(), file->text());
    tell(*answer);
    if (options_.watch) {
      const FollowCommand follow{invocation_, *client_, *interrupts_, options_.format};
      follow.execute(answer->batch().empty() ? answer->run() : answer->batch());
    }
  }

 private:
  StatusOr<v1::PipelineFile> read_file() const {
    v1::PipelineFile file;
    GQ_ASSIGN_OR_RETURN(const auto params, spec::parse_param_arguments(options_.params));
    GQ_ASSIGN_OR_RETURN(std::string text, base::read_file(base::posix_env(), absolute(invocation_, options_.file)));
    if (!params.empty() && spec::is_batch(text)) return absl::InvalidArgumentError(spec::kNoParamsForBatch);
    file.set_name(options_.file);
    file.set_text(std::move(text));
    file.set_working_folder(invocation_.working_folder);
    for (const auto& [key, value] : params) (*file.mutable_params())[key] = value;
    return file;
  }

  void refuse(const Status& status, const std::string& text) {
    const auto detail = client::error_detail(status);
    if (!detail || detail->diagnostics().empty()) {
      const int code = exit_code_of(status);  // NotFound: a path in the file
      return fail(invocation_, options_.format, status, code == kExitNotFound ? kExitUsage : code);
    }
    print(diagnostics_of(detail->diagnostics()), text);
  }

  void print(const std::vector<spec::Diagnostic>& mistakes, const std::string& text) {
    if (options_.format == "json") {
      invocation_.out << spec::render_json(mistakes);
    } else {
      invocation_.err << render(mistakes, {options_.file, text, invocation_.working_folder},
                                invocation_.err_is_terminal);
    }
    invocation_.exit_code = kExitUsage;
  }

  void check(const v1::PipelineFile& file) {
    v1::ValidateRequest request;
    *request.mutable_file() = file;
    const StatusOr<v1::ValidateResponse> answer = client_->call(request);
    if (!answer.ok()) return refuse(answer.status(), file.text());
    if (!answer->diagnostics().empty()) return print(diagnostics_of(answer->diagnostics()), file.text());
    const json names(std::vector<std::string>(answer->names().begin(), answer->names().end()));
    if (options_.format == "json") {
      return print_json(invocation_, {{"file", options_.file}, {"kind", answer->kind()}, {"names", names}});
    }
    const char* what = answer->kind() == "Batch" ? " run" : " stage";
    invocation_.out << options_.file << ": ok (" << names.size() << what << (names.size() == 1 ? "" : "s")
                    << "), not submitted\n";
  }

  // With --watch -o json standard output is the stream of events alone.
  void tell(const v1::SubmitResponse& answer) {
    const std::vector<std::string> runs(answer.batch_runs().begin(), answer.batch_runs().end());
    const bool is_batch = !answer.batch().empty();
    const std::string& id = is_batch ? answer.batch() : answer.run();
    const std::vector<std::string> warnings(answer.warnings().begin(), answer.warnings().end());
    if (options_.format == "json") {
      json out = {{"event", "submitted"}, {"run", answer.run()}};
      if (is_batch) out = {{"event", "submitted"}, {"batch", answer.batch()}, {"runs", runs}};
      if (!warnings.empty()) out["warnings"] = warnings;
      invocation_.out << out.dump() << "\n" << std::flush;
      return;
    }
    invocation_.out << id << " submitted" << (is_batch ? " (" + std::to_string(runs.size()) + " runs)" : "") << "\n"
                    << std::flush;
    for (const std::string& warning : warnings) invocation_.err << "warning: " << warning << "\n";
    if (!options_.watch) invocation_.err << "Follow it: gridquant watch " << id << "\n";
  }

  Invocation& invocation_;
  const SubmitOptions& options_;
  std::optional<SignalInterrupts> interrupts_;
  std::unique_ptr<client::Client> client_;
};

}  // namespace

void add_submit(Command app, Invocation& invocation) {
  const Command command = app.add_command("submit", "Gives a pipeline or batch file to a coordinator");
  const auto options = std::make_shared<SubmitOptions>();
  command.add_option("FILE", options->file, "Pipeline or batch file (YAML)").required();
  command.add_option("-p,--param", options->params, "key=value: a parameter of the pipeline; may be repeated")
      .one_each();
  command.add_option("--output", options->output,
                     "Folder for checkpoint/, report.json and report.html, relative to here (default out/<pipeline>); "
                     "the coordinator must be able to write it");
  command.add_flag("--watch", options->watch, "Follow it until it is over; Ctrl-C leaves it going");
  command.add_flag("--dry-run", options->dry_run, "Only let the coordinator check the file");
  command.add_flag("--no-cache", options->no_cache,
                   "Make everything again, also what is stored already; not what a run that goes on has made");
  command
      .add_option("--idempotency-key", options->idempotency_key,
                  "Submit once, however often this command is given with this key")
      .at_most(128);
  command.add_option("-o,--format", options->format, "text, or json: one object per line")
      .one_of({"text", "json"})
      .shows_default();
  const auto place = add_coordinator_options(command, invocation);
  command.set_footer(
      "Queue and priority stand in the file (spec.queue, spec.priority). Exit codes: 0 submitted, or with --watch\n"
      "succeeded; 1 the run failed, 2 mistakes in the file, 4 no coordinator answered, 5 refused, 130 left or "
      "cancelled.");
  command.on_given([&invocation, place, options] { SubmitCommand(invocation, *place, *options).execute(); });
}

}  // namespace gridquant::cli
