// Which faults a seed has: each seed another few of them, so that rare combinations come often enough.
#pragma once

#include "tests/sim/cluster.h"

namespace gridquant::sim {

inline Faults swarm(uint64_t seed) {
  Random random(seed ^ 0xFA017ull);
  for (int i = 0; i < 4; ++i) random.next();
  const auto maybe = [&](double value) { return random.chance(0.4) ? value : 0.0; };
  Faults faults;
  faults.loss = maybe(0.15);
  faults.duplicate = maybe(0.15);
  faults.late = maybe(0.1);
  faults.coordinator_crash = maybe(0.25);
  faults.agent_crash = maybe(0.08);
  faults.node_crash = maybe(0.04);
  faults.cut = maybe(0.1);
  faults.disk_full = maybe(0.08);
  faults.drain = maybe(0.08);
  faults.fail_retry = maybe(0.2);
  faults.fail_user = maybe(0.05);
  faults.corrupt = maybe(0.1);
  faults.hang = maybe(0.1);
  faults.stubborn = maybe(0.3);
  faults.unkillable = maybe(0.1);
  faults.cancel = maybe(0.3);
  faults.pause = maybe(0.3);
  faults.agent_stop = maybe(0.06);
  faults.forget = maybe(0.5);
  faults.remove = maybe(0.8);
  faults.keep_runs = random.chance(0.2) ? 1 : 0;
  return faults;
}

}  // namespace gridquant::sim
