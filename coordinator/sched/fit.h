// Whether and how a gang fits on the nodes. Pure functions of the state.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "coordinator/sched/state.h"

namespace gridquant::sched {

// Alive, not being drained, with the labels that the stage asks for.
bool may_use(const Node& node, const spec::StagePlan& plan);

bool has_labels(const Node& node, const spec::StagePlan& plan);

// How many ranks find room beside what `used` holds. Cores: more than the node has means all of them; none asked for
// means the whole node, shared by the gang's ranks there.
int ranks_with_room(const Node& node, const spec::StagePlan& plan, const NodeUse& used);

// Ranks that would find room if nothing ran, quarantined slots left out, over all nodes that it may use. At most
// `enough`.
int ranks_when_idle(const State& state, const spec::StagePlan& plan, int enough);

// Likewise if no slot were quarantined and no node drained: fewer than a stage asks for, and it waits for another node.
int ranks_at_best(const State& state, const spec::StagePlan& plan);

// The ranks to start with now: all of them if the nodes could hold them when idle; else, once it has waited long
// enough, as many as they could, but at least minRanks. 0: it cannot start with the nodes that there are.
int ranks_to_start(const State& state, const Stage& stage, Tick now_ms);

// An input of a ready stage that is made again just now, because it was damaged, by the stage's own run or by another;
// null: all are there.
const Stage* input_being_made(const State& state, const Run& run, const Stage& stage);

// All ranks or nothing: the members, the first on the node with most of them; empty if there is no room now. One node
// that can take all, with the least left over, else the fewest nodes. `reserved` nodes are left out.
std::vector<Member> fit(const State& state, const spec::StagePlan& plan, int ranks,
                        const std::set<std::string>& reserved);

}  // namespace gridquant::sched
