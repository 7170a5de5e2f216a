// Whether the ranks of an attempt show signs of life. Open MPI never notices a stopped rank, so every rank prints
// heartbeats while its work advances, while it waits for others and in a long call into the files; of a gang they all
// come through mpirun, so a daemon that is stopped or cut off is noticed too. Pure; decides nothing.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gridquant::node {

struct RankWatchLimits {
  int64_t silence_ms = 60'000;  // no sign for so long: it hangs
  int64_t start_ms = 120'000;   // for all ranks to show the first one
};

class RankWatch {
 public:
  // One rank of a worker that need not know of heartbeats is watched from its first one on.
  RankWatch(int ranks, RankWatchLimits limits, int64_t now_ms) : ranks_(ranks), limits_(limits), begin_ms_(now_ms) {}

  void beat(int rank, int64_t now_ms) { seen_[rank] = now_ms; }
  struct Silence {
    int rank = 0;
    int64_t for_ms = 0;
    bool never_came = false;
  };
  std::vector<Silence> look(int64_t now_ms) const;  // empty: all is well

 private:
  int ranks_;
  RankWatchLimits limits_;
  int64_t begin_ms_;
  std::map<int, int64_t> seen_;
};

}  // namespace gridquant::node
