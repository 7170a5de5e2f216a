// The stages as a graph: needs resolved, circles found, matrix instances connected, inputs found among the needs.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/spec/draft.h"

namespace gridquant::spec {

// One instance of one stage.
struct GraphNode {
  int draft = 0;
  int instance = 0;             // in the draft's instances
  std::vector<int> needs = {};  // GraphNodes
  std::map<std::string, int> inputs = {};
  bool uncertain = false;  // something above it is broken: what it lacks cannot be judged
};

struct Graph {
  std::vector<GraphNode> nodes;  // drafts in file order, instances in matrix order
  std::vector<int> first;        // per draft: its first GraphNode
};

struct Named {
  int draft = -1;
  int instance = -1;  // -1: the stage as such
};
using Names = std::unordered_map<std::string, Named>;

// Names of stages and of matrix instances: both may be needed by name. Reports names that collide.
Names collect_names(const std::vector<StageDraft>& drafts, const Context& context);

// Fills Need::draft and Need::instance, reports unknown names and circles (whose last edge is then taken out). Returns
// the drafts so ordered that needs come first.
std::vector<int> resolve_needs(std::vector<StageDraft>& drafts, const Names& names, const Context& context);

// Whether two instances may belong together: no key that both have with different values.
bool agree(const MatrixValues& a, const MatrixValues& b);

// Connects instances. A need on a matrix stage means all its instances, except those whose values differ from the
// needing instance's own in a key that both matrices have.
Graph connect(std::vector<StageDraft>& drafts, const std::vector<int>& order, const Context& context);

// For every input in the catalog the nearest stage of that kind among the needs, direct or not. Of several at the same
// distance those are left out whose matrix values differ from the instance's own.
void find_inputs(const std::vector<StageDraft>& drafts, const std::vector<int>& order, Graph& graph,
                 const Context& context);

}  // namespace gridquant::spec
