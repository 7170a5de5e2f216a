// From what the scheduler wants on a node to what its agent needs to do it: task file, log name, secret, addresses.
#pragma once

#include <string>
#include <vector>

#include "coordinator/sched/state.h"
#include "coordinator/sched/sync.h"

namespace gridquant::control {

struct GangHost {
  std::string node;
  int ranks = 1;
  std::string agent_address;  // "" if the node has not told it
};

struct Assignment {
  sched::DesiredAttempt desired;
  std::string head_node;
  std::string lease_secret;  // 64 hexadecimal digits, the same at every restart
  std::string store, store_id;
  // Only on the gang's head:
  std::vector<GangHost> hosts;
  std::string task_json;  // content of the worker's task file
  std::string log_name;   // "RUN/STAGE/attempt-N"
};

struct AssignedState {
  sched::DesiredState desired;  // without its attempts
  std::vector<Assignment> attempts;
};

struct AssignOptions {
  std::string store;     // folder that holds artifacts/, the same on all nodes
  std::string store_id;  // see store/workdir.h
  std::string secret;    // of the cluster; leases' secrets follow from it
};

std::string log_name_of(const std::string& run, const std::string& stage, int attempt);

// `state` is as of now, `desired` may be of a moment before: what has gone since is left out of it.
AssignedState assign(const sched::State& state, sched::DesiredState desired, const AssignOptions& options);

}  // namespace gridquant::control
