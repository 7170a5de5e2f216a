// Sums of groups, and their way to rank 0.
#include "stages/grouped_sums.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace gridquant::stages {
namespace {

// Calls fn with the memory of everything that a block's sums consist of, in a fixed order.
template <typename Fn>
void for_each_piece(BlockSums& sums, const Fn& fn) {
  for (SiteSums& site : sums) {
    for (std::vector<ColumnSums>& part : site) {
      for (ColumnSums& of : part) {
        fn(std::as_writable_bytes(std::span(&of.tokens, 1)));
        fn(std::as_writable_bytes(std::span(of.square)));
        fn(std::as_writable_bytes(std::span(of.abs)));
        fn(std::as_writable_bytes(std::span(of.max)));
      }
    }
  }
}

size_t bytes_of(BlockSums& sums) {
  size_t bytes = 0;
  for_each_piece(sums, [&](std::span<std::byte> piece) { bytes += piece.size(); });
  return bytes;
}

void clear(BlockSums& sums) {
  for_each_piece(sums, [](std::span<std::byte> piece) { std::memset(piece.data(), 0, piece.size()); });
}

}  // namespace

GroupedSums::GroupedSums(const std::vector<model::SiteSpec>& sites, size_t languages, const Shard& shard)
    : shard_(shard), group_(make_block_sums(sites, languages)), total_(make_block_sums(sites, languages)) {
  const ops::Subtree own = shard.groups_of(shard.rank());
  for (int64_t g = own.begin; g < own.begin + own.count; ++g) {
    ends_.push_back(shard.end_of_group(g) - shard.first_sequence());
  }
}

void GroupedSums::add(int64_t sequence, int language, const BlockSums& sums) {
  open_ = true;
  for (size_t s = 0; s < sums.size(); ++s) {
    for (size_t p = 0; p < sums[s].size(); ++p) {
      group_[s][p][static_cast<size_t>(language)].merge(sums[s][p].front());
    }
  }
  if (sequence + 1 == ends_.front()) close_group();
}

void GroupedSums::close_group() {
  ends_.erase(ends_.begin());
  if (shard_.rank() == 0) {
    merge(group_, total_);
  } else {
    for_each_piece(group_,
                   [this](std::span<std::byte> piece) { sent_.insert(sent_.end(), piece.begin(), piece.end()); });
  }
  clear(group_);
  open_ = false;
}

StatusOr<BlockSums> GroupedSums::finish() {
  if (open_ || !ends_.empty()) return absl::InternalError(absl::StrCat(ends_.size(), " row groups were not measured"));
  if (shard_.alone()) return std::move(total_);
  const size_t bytes = bytes_of(group_);
  std::vector<std::vector<std::byte>> received(static_cast<size_t>(shard_.ranks()));
  std::vector<std::span<const std::byte>> to(received.size());
  std::vector<std::span<std::byte>> from(received.size());
  for (int r = 1; shard_.rank() == 0 && r < shard_.ranks(); ++r) {
    received[static_cast<size_t>(r)].resize(static_cast<size_t>(shard_.groups_of(r).count) * bytes);
    from[static_cast<size_t>(r)] = received[static_cast<size_t>(r)];
  }
  if (shard_.rank() != 0) to[0] = sent_;
  GQ_RETURN_IF_ERROR(shard_.comm().exchange(to, from));
  for (const std::vector<std::byte>& groups : received) {
    const std::byte* at = groups.data();
    for (size_t g = 0; g < groups.size() / bytes; ++g) {
      for_each_piece(group_, [&](std::span<std::byte> piece) {
        std::memcpy(piece.data(), at, piece.size());
        at += piece.size();
      });
      merge(group_, total_);
    }
  }
  return std::move(total_);
}

}  // namespace gridquant::stages
