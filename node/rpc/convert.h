// Between the protocol's messages (proto/gridquant/v1) and the plain data of the scheduler and the agent. Only
// translates; what a message must hold is checked where it is used.
#pragma once

#include <string>
#include <vector>

#include "coordinator/sched/sync.h"
#include "gridquant/v1/node.pb.h"
#include "node/daemon/messages.h"

namespace gridquant::node {

// What the node is, beyond what the scheduler's inventory holds.
struct NodeFacts {
  std::string home{};  // NodeFiles::id()
  std::string agent_address{}, version{}, cpu_model{}, cpu_kind{};
  std::vector<std::string> compute_types{};
};

v1::NodeReport to_proto(const sched::NodeReport& report, const NodeFacts& facts);
v1::LogChunk to_proto(LogPiece piece);
v1::AttemptProgress to_proto(const AttemptProgress& progress);
Desired from_proto(const v1::DesiredState& state);

}  // namespace gridquant::node
