// Between the scheduler's plain data and the protocol's messages. Pure.
#pragma once

#include <string>

#include "coordinator/control/assign.h"
#include "coordinator/control/watch.h"
#include "coordinator/sched/state.h"
#include "coordinator/sched/sync.h"
#include "gridquant/v1/node.pb.h"
#include "gridquant/v1/pipeline.pb.h"

namespace gridquant::rpc {

v1::RunState to_proto(sched::RunState state);
v1::StageState to_proto(sched::StageState state);

// Without its stages.
void to_proto(const sched::Run& from, v1::Run& to);
// `store` is the folder that holds artifacts/.
void stages_to_proto(const sched::Run& from, const std::string& store, v1::Run& to);
void to_proto(const sched::Record& from, v1::Event& to);
void to_proto(const control::Note& from, v1::Progress& to);
// `heard_ms`: when it was heard of last; 0: not by this process.
void to_proto(const sched::State& state, const std::string& name, int64_t heard_ms, v1::Node& to);
void to_proto(const control::AssignedState& from, v1::DesiredState& to);

// InvalidArgument: more than limits.h allows, or labels that are the coordinator's own.
StatusOr<sched::NodeReport> from_proto(const v1::NodeReport& from);

}  // namespace gridquant::rpc
