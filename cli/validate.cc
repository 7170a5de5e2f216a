// gridquant validate: every error of pipeline files at once, without running anything.
#include <memory>
#include <ostream>

#include "cli/command.h"
#include "cli/common_options.h"
#include "coordinator/spec/batch.h"
#include "coordinator/spec/spec.h"
#include "engine/base/env.h"

namespace gridquant::cli {
namespace {

struct ValidateOptions {
  std::vector<std::string> files;
  std::vector<std::string> params;
  std::string format;
};

// A batch: its own errors, else those of its pipeline with the parameters of the first member that has any.
std::vector<spec::Diagnostic> validate_batch(const std::string& text, const spec::ParseOptions& options,
                                             bool text_output, Invocation& invocation) {
  const auto failed = [&](std::vector<spec::Diagnostic> found, const std::string& source) {
    if (text_output) invocation.err << spec::render_text(found, source, invocation.err_is_terminal);
    return found;
  };
  spec::BatchResult result = spec::parse_batch(text, options);
  if (!result.batch) return failed(std::move(result.diagnostics), text);
  const spec::Batch& batch = *result.batch;
  const StatusOr<std::string> pipeline = base::read_file(base::posix_env(), batch.pipeline);
  if (!pipeline.ok()) {
    return failed({spec::unreadable_file(batch.pipeline, std::string(pipeline.status().message()))}, "");
  }
  for (const spec::BatchMember& member : batch.members) {
    spec::ParseResult one = spec::expand_member(batch, member, *pipeline);
    if (one.pipeline) continue;
    if (text_output) invocation.err << "with the parameters of " << member.name << ":\n";
    return failed(std::move(one.diagnostics), *pipeline);
  }
  const size_t runs = batch.members.size();
  if (text_output) invocation.out << options.file << ": ok (" << runs << (runs == 1 ? " run)\n" : " runs)\n");
  return {};
}

// The diagnostics of one file; prints them, or that there are none, unless the output is JSON.
std::vector<spec::Diagnostic> validate_file(const std::string& file, const spec::ParseOptions& shared, bool text_output,
                                            Invocation& invocation) {
  spec::ParseOptions options = shared;
  options.file = file;
  spec::ParseResult result;
  const StatusOr<std::string> text = base::read_file(base::posix_env(), absolute(invocation, file));
  if (text.ok() && spec::is_batch(*text)) return validate_batch(*text, options, text_output, invocation);
  if (text.ok()) {
    result = spec::parse_pipeline(*text, options);
  } else {
    result.diagnostics.push_back(spec::unreadable_file(file, std::string(text.status().message())));
  }
  if (!text_output) return result.diagnostics;
  if (result.pipeline) {
    const size_t count = result.pipeline->stages.size();
    invocation.out << file << ": ok (" << count << (count == 1 ? " stage)\n" : " stages)\n");
  } else {
    invocation.err << spec::render_text(result.diagnostics, text.ok() ? *text : "", invocation.err_is_terminal);
  }
  return result.diagnostics;
}

void run_validate(const ValidateOptions& options, Invocation& invocation) {
  const auto params = spec::parse_param_arguments(options.params);
  if (!params.ok()) return fail(invocation, options.format, params.status(), kExitUsage);
  const spec::ParseOptions shared{
      .params = *params, .working_folder = invocation.working_folder, .params_required = false};
  const bool text_output = options.format != "json";
  std::vector<spec::Diagnostic> all;
  for (const std::string& file : options.files) {
    const std::vector<spec::Diagnostic> found = validate_file(file, shared, text_output, invocation);
    all.insert(all.end(), found.begin(), found.end());
  }
  if (!text_output) invocation.out << spec::render_json(all);
  invocation.exit_code = all.empty() ? kExitOk : kExitUsage;
}

}  // namespace

void add_validate(Command app, Invocation& invocation) {
  const Command command = app.add_command("validate", "Reports every error of pipeline files; runs nothing");
  auto options = std::make_shared<ValidateOptions>();
  command.add_option("FILE", options->files, "Pipeline files").required();
  command.add_option("-p,--param", options->params, "key=value: check this value of a parameter too").one_each();
  add_format_option(command, options->format);
  command.set_footer("Exit codes: 0 all files are valid, 2 otherwise.");
  command.on_given([options, &invocation] { run_validate(*options, invocation); });
}

}  // namespace gridquant::cli
