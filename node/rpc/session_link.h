// The agent's session with the coordinator: one stream, opened again with growing pauses when it breaks. A thread
// reads, a thread writes; the agent never waits for either. What could not be sent when a stream broke is dropped: the
// agent says it again after Connected.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>

#include "node/daemon/messages.h"
#include "node/rpc/convert.h"

namespace gridquant::node {

struct SessionLinkOptions {
  int64_t first_pause_ms = 100;
  int64_t longest_pause_ms = 1'000;
};

class SessionLink : public Uplink {
 public:
  // Pushes Desired, LogAcknowledged, Connected and Displaced into `inbox` (borrowed) from its threads.
  static std::unique_ptr<SessionLink> start(std::shared_ptr<grpc::Channel> channel, Inbox& inbox, NodeFacts facts,
                                            SessionLinkOptions options = {});
};

}  // namespace gridquant::node
