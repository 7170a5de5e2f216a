// The fault model of the simulation: what we promise to survive, what may happen how often, and the bugs that can be
// switched on to show that the checks see them.
//
// Survived, in any combination and number while faults last:
// - the network between an agent (or client) and the coordinator delays, loses, doubles and reorders messages, and is
//   cut for a while, in both directions or in one;
// - the coordinator dies at any moment, also between making records durable and acting on them; of the transaction
//   that was being written all, nothing or a torn part is found again, and of those not yet written nothing;
// - its disk is full for a while: it stops, and is started again until there is room;
// - an agent dies and is started anew; its workers die with it, or are left behind and found by the next agent;
// - an agent is stopped in order, and started anew later;
// - a node dies with everything on it, and comes back;
// - lost nodes are forgotten by operators, and come back all the same; runs that are over are deleted;
// - a worker succeeds, fails retryably, fails for good, finds stored bytes corrupt, crashes, hangs until it is stopped,
//   ignores TERM, cannot be killed for a while, or ends as a zombie: after its node was given up and its stage started
//   elsewhere.
// Not promised: durable records that vanish or change (two lost disks, state deleted by hand), two agents at once on
// one node, clocks that go back, anybody who forges messages.
//
// When faults stop, every run that was acknowledged ends within a bound, every slot is free, no process is left.
#pragma once

namespace gridquant::sim {

struct Faults {
  double loss = 0, duplicate = 0, late = 0;                                                          // per message
  double coordinator_crash = 0, agent_crash = 0, node_crash = 0, cut = 0, disk_full = 0, drain = 0;  // per second
  double agent_stop = 0, forget = 0;                                                                 // likewise
  double fail_retry = 0, fail_user = 0, corrupt = 0, hang = 0, stubborn = 0, unkillable = 0;         // per attempt
  double cancel = 0, pause = 0, remove = 0;                                                          // per run
  int keep_runs = 0;  // of those that are over; 0: all
};

struct Bugs {
  bool no_fence = false;       // a result counts for its stage, whatever attempt it is of
  bool double_commit = false;  // a success is recorded twice
  bool act_first = false;      // actions are performed before their records are durable
  bool early_free = false;     // a slot is reported free when its process was only asked to end
  bool lose_record = false;    // the disk says that it has a record, and has not
};

}  // namespace gridquant::sim
