// The Hessian over ranks: every rank sums its row groups, gets all groups' sums of its own rows of the triangle, adds
// them in the fixed tree, and gives the finished rows to all. A rank sends and receives about one triangle each time.
#include <algorithm>

#include "engine/ops/gram_parts.h"
#include "stages/shard.h"

namespace gridquant::stages {
namespace {

class GramOverRanks {
 public:
  // Rows of one rank follow each other, and hold about as much as any other rank's.
  GramOverRanks(const Shard& shard, int64_t cols) : shard_(shard), parts_(cols, shard.all_groups()) {
    owners_.push_back(0);
    for (int r = 1; r <= shard.ranks(); ++r) {
      int64_t end = owners_.back();
      while (parts_.row_begin(end) < parts_.size() * r / shard.ranks()) ++end;
      owners_.push_back(end);
    }
  }

  Status run(const ops::Operand& x, std::span<const ops::RowGroup> groups, device::ThreadPool& pool,
             tensor::Matrix<float> out) {
    tensor::Buffer triangle(static_cast<size_t>(parts_.size()) * sizeof(float));
    GQ_RETURN_IF_ERROR(sum_own_rows(x, groups, pool, floats(triangle)));
    std::vector<size_t> counts;
    for (int r = 0; r < shard_.ranks(); ++r) counts.push_back(static_cast<size_t>(share(r)) * sizeof(float));
    GQ_RETURN_IF_ERROR(shard_.comm().all_gather({triangle.data(), triangle.size()}, counts));
    parts_.write({floats(triangle), static_cast<size_t>(parts_.size())}, pool, out);
    return absl::OkStatus();
  }

 private:
  static float* floats(tensor::Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }
  // In floats.
  int64_t share_begin(int rank) const { return parts_.row_begin(owners_[static_cast<size_t>(rank)]); }
  int64_t share(int rank) const { return share_begin(rank + 1) - share_begin(rank); }
  std::vector<ops::Subtree> subtrees(int rank) const { return parts_.subtrees(shard_.groups_of(rank)); }
  int owner_of(int64_t row) const {
    return static_cast<int>(std::ranges::upper_bound(owners_, row) - owners_.begin()) - 1;
  }

  // To their place in `triangle`.
  Status sum_own_rows(const ops::Operand& x, std::span<const ops::RowGroup> groups, device::ThreadPool& pool,
                      float* triangle) {
    const auto own = static_cast<int64_t>(subtrees(shard_.rank()).size());
    tensor::Buffer sent(static_cast<size_t>(own * parts_.size()) * sizeof(float));  // [owner][subtree][its rows]
    const auto place = [&](int64_t s, int64_t row) {
      const int owner = owner_of(row);
      return floats(sent) + own * share_begin(owner) + s * share(owner) + parts_.row_begin(row) - share_begin(owner);
    };
    GQ_RETURN_IF_ERROR(parts_.sum(x, groups, shard_.groups_of(shard_.rank()), pool, place));
    std::vector<ops::Subtree> nodes;  // of all ranks, in order
    for (int r = 0; r < shard_.ranks(); ++r) {
      for (const ops::Subtree& node : subtrees(r)) nodes.push_back(node);
    }
    const int64_t mine = share(shard_.rank());
    tensor::Buffer received(nodes.size() * static_cast<size_t>(mine) * sizeof(float));
    GQ_RETURN_IF_ERROR(exchange(sent, own, received));
    std::vector<float*> received_of;
    for (size_t n = 0; n < nodes.size(); ++n) received_of.push_back(floats(received) + static_cast<int64_t>(n) * mine);
    parts_.combine(nodes, received_of, mine, pool);
    if (mine > 0) std::copy_n(floats(received), mine, triangle + share_begin(shard_.rank()));
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

  const Shard& shard_;
  ops::GramParts parts_;
  std::vector<int64_t> owners_;  // first row of each rank; and the end
};

}  // namespace

Status gram_over_ranks(const Shard& shard, const ops::Operand& x, std::span<const ops::RowGroup> groups,
                       device::ThreadPool& pool, tensor::Matrix<float> out) {
  if (shard.alone()) return ops::gram(x, {groups.begin(), groups.end()}, pool, out);
  return GramOverRanks(shard, x.cols).run(x, groups, pool, out);
}

}  // namespace gridquant::stages
