// Everything of NodeService but sessions.
#include "coordinator/rpc/node_service.h"

#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/limits.h"

namespace gridquant::rpc {

grpc::ServerUnaryReactor* NodeService::ListNodes(Context* context, const v1::ListNodesRequest*,
                                                 v1::ListNodesResponse* response) {
  return calls_.look(context, [response](const control::View& view) {
    for (const auto& [name, node] : view.scheduler.state().nodes) {
      const auto heard = view.heard_ms.find(name);
      to_proto(view.scheduler.state(), name, heard == view.heard_ms.end() ? 0 : heard->second, *response->add_nodes());
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* NodeService::DrainNode(Context* context, const v1::DrainNodeRequest* request,
                                                 v1::DrainNodeResponse*) {
  if (request->deadline_ms() < 0 || request->deadline_ms() > kLongestDrainMs) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(
        to_grpc(absl::InvalidArgumentError("deadline_ms must be 0 (none) to " + std::to_string(kLongestDrainMs) +
                                           " ms from now, not " + std::to_string(request->deadline_ms()))));
    return reactor;
  }
  sched::DrainRequested input{.node = request->node(), .request = request->request_id()};
  input.deadline_ms = request->deadline_ms();
  return calls_.change(context, std::move(input), [](const std::string&) {});
}

grpc::ServerUnaryReactor* NodeService::UndrainNode(Context* context, const v1::UndrainNodeRequest* request,
                                                   v1::UndrainNodeResponse*) {
  sched::DrainRequested input{.node = request->node(), .drain = false, .request = request->request_id()};
  return calls_.change(context, std::move(input), [](const std::string&) {});
}

grpc::ServerUnaryReactor* NodeService::ForgetNode(Context* context, const v1::ForgetNodeRequest* request,
                                                  v1::ForgetNodeResponse*) {
  return calls_.change(context, sched::ForgetRequested{request->node(), request->request_id()},
                       [](const std::string&) {});
}

}  // namespace gridquant::rpc
