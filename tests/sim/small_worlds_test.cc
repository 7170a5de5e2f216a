// Small worlds, all orders: two runs on two nodes, a gang over both and a single stage; what may happen to them in
// every order. The invariants are checked after every step; when faults stop, both runs must end.
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace gridquant::sim {
namespace {

enum class What { kEndWell, kEndBadly, kCut, kMend, kCoordinatorDies, kAgentDies, kLeaseEnds, kCancel };
constexpr int kWhats = 8;

void perform(Cluster& cluster, What what) {
  Host& host = cluster.host(1);
  switch (what) {
    case What::kEndWell:
      cluster.end_first(0);
      return;
    case What::kEndBadly:
      cluster.end_first(132);
      return;
    case What::kCut:
      host.cut_in = host.cut_out = true;
      return;
    case What::kMend:
      host.cut_in = host.cut_out = false;
      return cluster.start_coordinator();
    case What::kCoordinatorDies:
      cluster.crash_coordinator(true);
      return cluster.start_coordinator();
    case What::kAgentDies:
      cluster.crash_agent(host, true);
      return cluster.start_agent(host);
    case What::kLeaseEnds:
      return cluster.advance(cluster.now() + 6'000);
    case What::kCancel:
      return cluster.input(sched::CancelRequested{"r1", "enough", false});
  }
}

void world(const std::vector<int>& order, Tick between) {
  Cluster cluster(7, {});
  cluster.manual_workers = true;
  cluster.start_coordinator();
  cluster.add_node(2, 0);
  cluster.add_node(2, 0);
  cluster.advance(cluster.now() + 100);
  sched::RunSubmitted gang = cluster.plain_run("r1", "ab");
  gang.pipeline.stages[0].gang_ranks = 3;
  gang.pipeline.stages[0].gang_min_ranks = 1;
  cluster.submit(gang);
  cluster.submit(cluster.plain_run("r2", "a"));
  cluster.advance(cluster.now() + 200);
  for (const int what : order) {
    perform(cluster, static_cast<What>(what));
    cluster.advance(cluster.now() + between);
  }
  cluster.heal();
  for (int i = 0; i < 400 && !cluster.idle(); ++i) {
    while (cluster.end_first(0)) {
    }
    cluster.advance(cluster.now() + 500);
  }
  cluster.expect_end(1'000);
}

std::string show(const std::vector<int>& order) {
  std::string text;
  for (const int what : order) text += std::to_string(what) + " ";
  return text;
}

TEST(SmallWorldsTest, EverySequenceOfFour) {
  for (int code = 0; code < kWhats * kWhats * kWhats * kWhats; ++code) {
    std::vector<int> order;
    for (int i = 0, rest = code; i < 4; ++i, rest /= kWhats) order.push_back(rest % kWhats);
    ASSERT_NO_THROW(world(order, 40)) << show(order);
  }
}

TEST(SmallWorldsTest, EveryOrderOfSixOfThem) {
  for (int left_out = 0; left_out < kWhats; left_out += 3) {
    std::vector<int> order;
    for (int what = 0; what < kWhats; ++what) {
      if (what != left_out && order.size() < 6) order.push_back(what);
    }
    do {
      for (const Tick between : {0, 15}) ASSERT_NO_THROW(world(order, between)) << show(order) << "every " << between;
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

}  // namespace
}  // namespace gridquant::sim
