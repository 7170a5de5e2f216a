// Submit and Validate.
#include "coordinator/rpc/limits.h"
#include "coordinator/rpc/pipeline_service.h"

namespace gridquant::rpc {
namespace {

StatusOr<control::PipelineText> file_from(const v1::PipelineFile& from) {
  if (from.text().size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(from.name() + " has more than " + std::to_string(kMaxFileBytes) + " bytes");
  }
  if (static_cast<size_t>(from.params().size()) > kMaxParams) {
    return absl::InvalidArgumentError("more than " + std::to_string(kMaxParams) + " parameters");
  }
  if (!from.working_folder().starts_with('/')) {
    return absl::InvalidArgumentError("file.working_folder must be an absolute path");
  }
  if (from.name().empty()) return absl::InvalidArgumentError("file.name is missing");
  control::PipelineText to{from.name(), from.text(), from.working_folder(), {}};
  for (const auto& [key, value] : from.params()) to.params[key] = value;
  return to;
}

void checked_to_proto(const control::Checked& from, v1::ValidateResponse& to) {
  to.set_kind(from.kind);
  for (const spec::Diagnostic& diagnostic : from.diagnostics) to_proto(diagnostic, *to.add_diagnostics());
  for (const spec::Pipeline& pipeline : from.pipelines) {
    if (from.kind == "Batch") to.add_names(pipeline.name);
    if (from.kind == "Batch") continue;
    for (const spec::StagePlan& stage : pipeline.stages) to.add_names(stage.name);
  }
}

std::string hint_for(const Status& status) {
  return status.code() == absl::StatusCode::kNotFound
             ? "the coordinator and the nodes look for it, each under this very path"
             : "";
}

}  // namespace

grpc::ServerUnaryReactor* PipelineService::Submit(Context* context, const v1::SubmitRequest* request,
                                                  v1::SubmitResponse* response) {
  return calls_.unary(context, [&](const Finish& finish) {
    if (const Status id = check_request_id(request->request_id()); !id.ok()) return finish(to_grpc(id));
    StatusOr<control::PipelineText> file = file_from(request->file());
    if (!file.ok()) return finish(to_grpc(file.status()));
    control::Submission submission{*std::move(file), request->output(), request->no_cache(), request->request_id()};
    calls_.control().submissions().submit(
        std::move(submission), [finish, response](const control::SubmitOutcome& outcome) {
          if (outcome.result.ok()) {
            response->set_run(outcome.result->run);
            response->set_batch(outcome.result->batch);
            for (const std::string& run : outcome.result->batch_runs) response->add_batch_runs(run);
            for (const std::string& warning : outcome.result->warnings) response->add_warnings(warning);
          }
          finish(to_grpc(outcome.result.status(), outcome.diagnostics, hint_for(outcome.result.status())));
        });
  });
}

grpc::ServerUnaryReactor* PipelineService::Validate(Context* context, const v1::ValidateRequest* request,
                                                    v1::ValidateResponse* response) {
  return calls_.unary(context, [&](const Finish& finish) {
    StatusOr<control::PipelineText> file = file_from(request->file());
    if (!file.ok()) return finish(to_grpc(file.status()));
    calls_.control().submissions().validate(*std::move(file),
                                            [finish, response](const StatusOr<control::Checked>& checked) {
                                              if (checked.ok()) checked_to_proto(*checked, *response);
                                              finish(to_grpc(checked.status()));
                                            });
  });
}

}  // namespace gridquant::rpc
