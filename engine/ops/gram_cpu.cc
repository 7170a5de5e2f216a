// Op `gram` on the CPU: all row groups by one holder. What a rectangle's subtrees gave is added in the same tree's
// upper part and mirrored.
#include "engine/ops/gram.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/ops/gram_run.h"

namespace gridquant::ops {
namespace {

constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kPartialBytes = 64 << 20;  // of sums of subtrees; more only where parallelism needs it

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

Status check_groups(const Operand& x, std::span<const RowGroup> groups) {
  for (const RowGroup& group : groups) {
    if (group.begin < 0 || group.count < 0 || group.begin > x.rows || group.count > x.rows - group.begin) {
      return absl::InvalidArgumentError(absl::StrCat("gram: rows [", group.begin, ", ", group.begin + group.count,
                                                     ") of a matrix of ", x.rows, " rows"));
    }
  }
  return absl::OkStatus();
}

Status gram(const Operand& x, const std::vector<RowGroup>& groups, device::ThreadPool& pool,
            tensor::Matrix<float> out) {
  if (out.rows != x.cols || out.cols != x.cols) {
    return absl::InvalidArgumentError(
        absl::StrCat("gram: x has ", x.cols, " columns, the result is ", out.rows, " x ", out.cols));
  }
  GQ_RETURN_IF_ERROR(check_groups(x, groups));
  if (x.cols == 0) return absl::OkStatus();
  if (groups.empty()) {
    for (int64_t r = 0; r < out.rows; ++r) std::fill_n(out.row(r), out.cols, 0.0f);
    return absl::OkStatus();
  }
  const auto count = static_cast<int64_t>(groups.size());
  const int64_t wanted = kTasksPerThread * pool.all_threads();
  const std::vector<GramTile> tiles = cut_triangle(x.compute, x.cols, ceil_div(wanted, count));
  int64_t areas = 0;
  for (const GramTile& tile : tiles) areas += area(tile);
  const int64_t for_threads = ceil_div(wanted, static_cast<int64_t>(tiles.size()));
  const int64_t for_caches = kPartialBytes / (areas * static_cast<int64_t>(sizeof(float)));
  const std::vector<Subtree> subtrees = subtrees_of(count, std::max(for_threads, for_caches));
  GramRun run(x, groups, pool, tiles, subtrees);
  GQ_RETURN_IF_ERROR(run.sum());
  pool.parallel_for(static_cast<int64_t>(tiles.size()), [&](int64_t t, int) {
    const GramTile& tile = tiles[static_cast<size_t>(t)];
    write_tile(tile, combine_subtrees(run.parts(t), area(tile)), out);
    run.drop_parts(t);
  });
  return absl::OkStatus();
}

}  // namespace gridquant::ops
