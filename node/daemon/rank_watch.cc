// See rank_watch.h.
#include "node/daemon/rank_watch.h"

namespace gridquant::node {

std::vector<RankWatch::Silence> RankWatch::look(int64_t now_ms) const {
  std::vector<Silence> silent;
  for (int rank = 0; rank < ranks_; ++rank) {
    const auto seen = seen_.find(rank);
    const bool came = seen != seen_.end();
    if (!came && ranks_ == 1) continue;
    const int64_t for_ms = now_ms - (came ? seen->second : begin_ms_);
    if (for_ms >= (came ? limits_.silence_ms : limits_.start_ms)) silent.push_back({rank, for_ms, !came});
  }
  return silent;
}

}  // namespace gridquant::node
