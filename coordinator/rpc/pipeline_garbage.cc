// CollectGarbage.
#include "coordinator/control/garbage.h"
#include "coordinator/rpc/pipeline_service.h"

namespace gridquant::rpc {

grpc::ServerUnaryReactor* PipelineService::CollectGarbage(Context* context, const v1::CollectGarbageRequest* request,
                                                          v1::CollectGarbageResponse* response) {
  return calls_.unary(context, [&](const Finish& finish) {
    if (const Status id = check_request_id(request->request_id()); !id.ok()) return finish(to_grpc(id));
    const control::ControlOptions& own = calls_.control().options();
    control::GarbageOptions options{.workdir = own.workdir, .store = own.store, .dry_run = request->dry_run()};
    if (request->has_min_age_ms()) options.min_age_ms = request->min_age_ms();
    if (options.min_age_ms < 0) return finish(to_grpc(absl::InvalidArgumentError("min_age_ms is less than 0")));
    calls_.control().garbage().collect(request->request_id(), std::move(options),
                                       [finish, response](const StatusOr<control::Garbage>& garbage) {
                                         if (garbage.ok()) {
                                           for (const std::string& name : garbage->removed) response->add_removed(name);
                                           response->set_removed_count(garbage->count);
                                           response->set_removed_bytes(garbage->bytes);
                                         }
                                         finish(to_grpc(garbage.status()));
                                       });
  });
}

}  // namespace gridquant::rpc
