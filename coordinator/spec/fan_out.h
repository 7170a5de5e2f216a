// `parallelism: blocks`: a quantize stage becomes parts, stages of their own that each quantize a range of blocks, and
// the stage of that name, which needs and joins them.
#pragma once

#include <vector>

#include "coordinator/spec/graph.h"
#include "coordinator/spec/pipeline.h"

namespace gridquant::spec {

// `stages` are those of graph.nodes, in that order; the parts are put before the stage that joins them. Reports what
// makes them impossible.
void fan_out(const std::vector<StageDraft>& drafts, const Graph& graph, const Context& context,
             std::vector<StagePlan>& stages);

}  // namespace gridquant::spec
