// Column sums of one block over the sequences of all ranks: within each row group in order of sequences, then over the
// groups in order. The groups are those of the Hessian, so the order of additions does not depend on the ranks.
#pragma once

#include <cstddef>
#include <vector>

#include "stages/shard.h"
#include "stages/site_statistics.h"

namespace gridquant::stages {

class GroupedSums {
 public:
  // Borrows `shard`.
  GroupedSums(const std::vector<model::SiteSpec>& sites, size_t languages, const Shard& shard);

  // One of this rank's sequences, in order; `sums` in language 0.
  void add(int64_t sequence, int language, const BlockSums& sums);
  // After the last. On rank 0 the sums of everything, elsewhere nothing of use.
  StatusOr<BlockSums> finish();

 private:
  void close_group();

  const Shard& shard_;
  std::vector<int64_t> ends_;  // of this rank's groups, in sequences
  BlockSums group_;            // the one being added to
  bool open_ = false;
  BlockSums total_;              // rank 0: of the groups so far
  std::vector<std::byte> sent_;  // other ranks: the groups' sums, one after the other
};

}  // namespace gridquant::stages
