// Rows of parts, gathered.
#include "stages/part_rows.h"

#include "stages/parallel.h"

namespace gridquant::stages {

StatusOr<PartRows> RowGatherer::gather(const SiteInput& site, const model::SitePart& part) {
  PartRows rows;
  if (part.expert < 0) {
    rows.x = site.x;
    for (const ops::RowGroup& group : groups_) {
      rows.groups.push_back({group.begin * site.spec.rows_per_token, group.count * site.spec.rows_per_token});
    }
    return rows;
  }
  const auto sequences = static_cast<int64_t>(site.routings.size());
  const auto view = [&](int64_t i) { return model::SequenceView{{}, &site.routings[static_cast<size_t>(i)]}; };
  std::vector<int64_t> begins = {0};
  for (int64_t i = 0; i < sequences; ++i) {
    begins.push_back(begins.back() + model::row_count(site.spec, part, view(i)));
  }
  for (const ops::RowGroup& group : groups_) {
    const int64_t begin = begins[group.begin / site.length];
    rows.groups.push_back({begin, begins[(group.begin + group.count) / site.length] - begin});
  }
  const int64_t width = site.spec.width;
  const size_t bytes = static_cast<size_t>(begins.back() * width) * ops::operand_size(compute_);
  if (copied_.size() < bytes) copied_ = tensor::Buffer(bytes);
  rows.x = {compute_, copied_.data(), begins.back(), width, width};
  GQ_RETURN_IF_ERROR(parallel(pool_, sequences, [&](int64_t i, int) {
    model::gather_rows(site.spec, part, view(i), site.of_sequence(i),
                       rows.x.row_range(begins[i], begins[i + 1] - begins[i]));
    if (site.release) site.release(i);
    return absl::OkStatus();
  }));
  return rows;
}

StatusOr<std::vector<int64_t>> tokens_of_experts(const Shard& shard, std::span<const model::Routing> routings,
                                                 int64_t experts) {
  const auto count = static_cast<size_t>(experts);
  const auto ranks = static_cast<size_t>(shard.ranks());
  std::vector<int64_t> all(count * ranks);  // [rank, expert]
  for (size_t e = 0; e < count; ++e) {
    int64_t& own = all[static_cast<size_t>(shard.rank()) * count + e];
    for (const model::Routing& routing : routings) own += routing.count(static_cast<int64_t>(e));
  }
  GQ_RETURN_IF_ERROR(shard.comm().all_gather(std::as_writable_bytes(std::span(all)),
                                             std::vector<size_t>(ranks, count * sizeof(int64_t))));
  std::vector<int64_t> tokens(count);
  for (size_t i = 0; i < all.size(); ++i) tokens[i % count] += all[i];
  return tokens;
}

}  // namespace gridquant::stages
