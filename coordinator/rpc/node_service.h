// NodeService: agents' sessions, and what operators do with nodes.
#pragma once

#include "coordinator/rpc/calls.h"
#include "gridquant/v1/node.grpc.pb.h"

namespace gridquant::rpc {

class NodeService final : public v1::NodeService::CallbackService {
 public:
  explicit NodeService(const Calls& calls) : calls_(calls) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>* Session(Context* context) override;
  Reactor* ListNodes(Context* context, const v1::ListNodesRequest* request, v1::ListNodesResponse* response) override;
  Reactor* DrainNode(Context* context, const v1::DrainNodeRequest* request, v1::DrainNodeResponse* response) override;
  Reactor* UndrainNode(Context* context, const v1::UndrainNodeRequest* request,
                       v1::UndrainNodeResponse* response) override;
  Reactor* ForgetNode(Context* context, const v1::ForgetNodeRequest* request,
                      v1::ForgetNodeResponse* response) override;

 private:
  const Calls& calls_;
};

}  // namespace gridquant::rpc
