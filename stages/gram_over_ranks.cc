// The Hessian over ranks: every rank sums its row groups over all tiles, gets all groups' sums of its own tiles, adds
// them in the fixed tree, and gives the finished tiles to all. A rank sends and receives about one triangle each time.
#include <algorithm>

#include "engine/ops/gram_parts.h"
#include "stages/shard.h"

namespace gridquant::stages {
namespace {

class GramOverRanks {
 public:
  GramOverRanks(const Shard& shard, const ops::Operand& x)
      : shard_(shard), parts_(x.compute, x.cols, shard.all_groups()), begins_{0} {
    for (int64_t t = 0; t < parts_.tiles(); ++t) begins_.push_back(begins_.back() + parts_.tile_size(t));
    // Tiles of one rank follow each other, and hold about as much as any other rank's.
    owners_.push_back(0);
    for (int r = 1; r <= shard.ranks(); ++r) {
      const int64_t until = begins_.back() * r / shard.ranks();
      owners_.push_back(std::ranges::lower_bound(begins_, until) - begins_.begin());
    }
  }

  Status run(const ops::Operand& x, std::span<const ops::RowGroup> groups, device::ThreadPool& pool,
             tensor::Matrix<float> out) {
    tensor::Buffer sums(static_cast<size_t>(begins_.back()) * sizeof(float));
    GQ_RETURN_IF_ERROR(sum_own_tiles(x, groups, pool, floats(sums)));
    std::vector<size_t> counts;
    for (int r = 0; r < shard_.ranks(); ++r) counts.push_back(static_cast<size_t>(share(r)) * sizeof(float));
    GQ_RETURN_IF_ERROR(shard_.comm().all_gather({sums.data(), sums.size()}, counts));
    parts_.write({floats(sums), static_cast<size_t>(begins_.back())}, pool, out);
    return absl::OkStatus();
  }

 private:
  static float* floats(tensor::Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }
  int64_t share_begin(int rank) const { return begins_[static_cast<size_t>(owners_[static_cast<size_t>(rank)])]; }
  int64_t share(int rank) const { return share_begin(rank + 1) - share_begin(rank); }
  std::vector<ops::Subtree> subtrees(int rank) const { return parts_.subtrees(shard_.groups_of(rank)); }

  // To their place among `sums`, where all tiles follow each other.
  Status sum_own_tiles(const ops::Operand& x, std::span<const ops::RowGroup> groups, device::ThreadPool& pool,
                       float* sums) {
    const auto own = static_cast<int64_t>(subtrees(shard_.rank()).size());
    tensor::Buffer sent(static_cast<size_t>(own * begins_.back()) * sizeof(float));  // [owner][subtree][its tiles]
    std::vector<int> owner_of(static_cast<size_t>(parts_.tiles()));
    for (int r = 0; r < shard_.ranks(); ++r) {
      for (int64_t t = owners_[static_cast<size_t>(r)]; t < owners_[static_cast<size_t>(r) + 1]; ++t) {
        owner_of[static_cast<size_t>(t)] = r;
      }
    }
    const auto place = [&](int64_t s, int64_t t) {
      const int owner = owner_of[static_cast<size_t>(t)];
      return floats(sent) + own * share_begin(owner) + s * share(owner) + begins_[static_cast<size_t>(t)] -
             share_begin(owner);
    };
    GQ_RETURN_IF_ERROR(parts_.sum(x, groups, shard_.groups_of(shard_.rank()), pool, place));
    tensor::Buffer received;
    std::vector<ops::Subtree> nodes;  // of all ranks, in order
    for (int r = 0; r < shard_.ranks(); ++r) {
      for (const ops::Subtree& node : subtrees(r)) nodes.push_back(node);
    }
    const int64_t mine = share(shard_.rank());
    received = tensor::Buffer(nodes.size() * static_cast<size_t>(mine) * sizeof(float));
    GQ_RETURN_IF_ERROR(exchange(sent, own, received));
    combine(nodes, floats(received), pool);
    if (mine > 0) std::copy_n(floats(received), mine, sums + share_begin(shard_.rank()));
    return absl::OkStatus();
  }

  Status exchange(tensor::Buffer& sent, int64_t own, tensor::Buffer& received) {
    std::vector<std::span<const std::byte>> to;
    std::vector<std::span<std::byte>> from;
    size_t at = 0;
    for (int r = 0; r < shard_.ranks(); ++r) {
      to.emplace_back(sent.data() + static_cast<size_t>(own * share_begin(r)) * sizeof(float),
                      static_cast<size_t>(own * share(r)) * sizeof(float));
      const size_t bytes = subtrees(r).size() * static_cast<size_t>(share(shard_.rank())) * sizeof(float);
      from.emplace_back(received.data() + at, bytes);
      at += bytes;
    }
    return shard_.comm().exchange(to, from);
  }

  // The sums end up in the first subtree's tiles.
  void combine(const std::vector<ops::Subtree>& nodes, float* received, device::ThreadPool& pool) {
    const int64_t first = owners_[static_cast<size_t>(shard_.rank())];
    const int64_t count = owners_[static_cast<size_t>(shard_.rank()) + 1] - first;
    pool.parallel_for(count, [&](int64_t i, int) {
      std::vector<float*> tile;
      for (size_t n = 0; n < nodes.size(); ++n) {
        tile.push_back(received + static_cast<int64_t>(n) * share(shard_.rank()) +
                       begins_[static_cast<size_t>(first + i)] - share_begin(shard_.rank()));
      }
      parts_.combine(first + i, nodes, tile);
    });
  }

  const Shard& shard_;
  ops::GramParts parts_;
  std::vector<int64_t> begins_;  // of tiles, in floats; and the end
  std::vector<int64_t> owners_;  // first tile of each rank; and the end
};

}  // namespace

Status gram_over_ranks(const Shard& shard, const ops::Operand& x, std::span<const ops::RowGroup> groups,
                       device::ThreadPool& pool, tensor::Matrix<float> out) {
  if (shard.alone()) return ops::gram(x, {groups.begin(), groups.end()}, pool, out);
  return GramOverRanks(shard, x).run(x, groups, pool, out);
}

}  // namespace gridquant::stages
