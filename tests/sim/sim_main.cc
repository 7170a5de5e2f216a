// Runs the simulation for many seeds: sim_seeds [--first N] [--seeds N] [--seed N: that one, with its trace].
// Exit codes: 0, 2 an invariant is broken, 3 a run did not end once faults had stopped.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/sim/swarm.h"

namespace gridquant::sim {
namespace {

int report(uint64_t seed, const Violation& violation) {
  std::printf("seed %llu breaks %s\nagain, with what happened: sim_seeds --seed %llu\n",
              static_cast<unsigned long long>(seed), violation.what(), static_cast<unsigned long long>(seed));
  return violation.rule() == "liveness" ? 3 : 2;
}

int run_one(uint64_t seed, bool tracing) {
  Cluster cluster(seed, swarm(seed));
  cluster.tracing = tracing;
  int code = 0;
  try {
    cluster.run();
  } catch (const Violation& violation) {
    code = report(seed, violation);
  }
  for (const std::string& line : cluster.trace) std::puts(line.c_str());
  return code;
}

int run(int argc, char** argv) {
  uint64_t first = 1, seeds = 1'000;
  for (int i = 1; i + 1 < argc; i += 2) {
    const uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seed") == 0) return run_one(value, true);
    if (std::strcmp(argv[i], "--first") == 0) first = value;
    if (std::strcmp(argv[i], "--seeds") == 0) seeds = value;
  }
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    if (const int code = run_one(seed, false); code != 0) return code;
  }
  std::printf("%llu seeds from %llu: every invariant held, every run ended\n", static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(first));
  return 0;
}

}  // namespace
}  // namespace gridquant::sim

int main(int argc, char** argv) {
  return gridquant::sim::run(argc, argv);
}
