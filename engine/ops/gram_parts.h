// gram by several holders of row groups, such as ranks, with the bits of gram over all groups: each holder sums the
// subtrees of the fixed tree that lie in its groups; then the tiles change hands, and whoever has all subtrees of a
// tile finishes it. Not here: moving the tiles.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/ops/gram.h"
#include "engine/ops/gram_tile.h"
#include "engine/ops/tree.h"

namespace gridquant::ops {

class GramParts {
 public:
  // The same for all holders; independent of their threads.
  GramParts(Compute compute, int64_t cols, int64_t total_groups);

  int64_t tiles() const { return static_cast<int64_t>(tiles_.size()); }
  int64_t tile_size(int64_t t) const;  // floats
  // What the holder of groups [range.begin, range.begin + range.count) sums.
  std::vector<Subtree> subtrees(Subtree range) const { return subtrees_within(total_groups_, range); }

  // Where the sums of tile `t` over the holder's subtree number `s` go.
  using Place = std::function<float*(int64_t s, int64_t t)>;
  // `x` has the rows of the holder's `groups` (of numbers range.begin, ...). Every place is written.
  Status sum(const Operand& x, std::span<const RowGroup> groups, Subtree range, device::ThreadPool& pool,
             const Place& place) const;
  // Tile `t` of all subtrees, in order; together they cover all groups. The sum lies in parts[0] then.
  void combine(int64_t t, std::span<const Subtree> subtrees, std::span<float* const> parts) const;
  // The tiles' sums, one after the other, to the symmetric result [cols, cols].
  void write(std::span<const float> sums, device::ThreadPool& pool, tensor::Matrix<float> out) const;

 private:
  int64_t total_groups_;
  std::vector<GramTile> tiles_;
};

}  // namespace gridquant::ops
