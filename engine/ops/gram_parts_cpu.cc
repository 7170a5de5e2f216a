// Sums of a holder's subtrees, cut further where threads need it.
#include "engine/ops/gram_parts.h"

#include <algorithm>

#include "engine/ops/gram_run.h"

namespace gridquant::ops {
namespace {

constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kFloatsPerTask = 1 << 14;
constexpr int64_t kMirrorEdge = 64;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// The part of a rectangle that belongs to the upper triangle, to its rows.
template <typename RowPlace>
void place_tile(const GramTile& tile, const float* sums, const RowPlace& row_place) {
  for (int64_t i = 0; i < tile.rows; ++i) {
    const int64_t skip = tile.diagonal() ? i : 0;
    const int64_t r = tile.r0 + i;
    std::copy(sums + i * tile.cols + skip, sums + (i + 1) * tile.cols, row_place(r) + tile.c0 + skip - r);
  }
}

}  // namespace

// Few groups are enough for one thread: small rectangles, of which each packs its own columns of x, only where many
// threads need them.
Status GramParts::sum(const Operand& x, std::span<const RowGroup> groups, Subtree range, device::ThreadPool& pool,
                      const Place& place) const {
  GQ_RETURN_IF_ERROR(check_groups(x, groups));
  if (range.count == 0) return absl::OkStatus();
  const int64_t wanted = pool.threads() == 1 ? 1 : kTasksPerThread * pool.threads();
  const std::vector<GramTile> tiles = cut_triangle(x.compute, x.cols, ceil_div(wanted, range.count));
  const auto tile_count = static_cast<int64_t>(tiles.size());
  const std::vector<Subtree> nodes = subtrees(range);
  std::vector<Subtree> pieces;       // of `groups`
  std::vector<size_t> begins = {0};  // pieces of node n: begins[n] to begins[n + 1]
  for (const Subtree& node : nodes) {
    for (const Subtree& piece : subtrees_of(node.count, ceil_div(wanted, tile_count))) {
      pieces.push_back({node.begin - range.begin + piece.begin, piece.count});
    }
    begins.push_back(pieces.size());
  }
  GramRun run(x, groups, pool, tiles, pieces);
  GQ_RETURN_IF_ERROR(run.sum());
  pool.parallel_for(tile_count, [&](int64_t t, int) {
    const GramTile& tile = tiles[static_cast<size_t>(t)];
    const std::span<tensor::Buffer> parts = run.parts(t);
    for (size_t n = 0; n < nodes.size(); ++n) {
      const float* sums = combine_subtrees(parts.subspan(begins[n], begins[n + 1] - begins[n]), area(tile));
      place_tile(tile, sums, [&](int64_t r) { return place(static_cast<int64_t>(n), r); });
    }
    run.drop_parts(t);
  });
  return absl::OkStatus();
}

void GramParts::combine(std::span<const Subtree> subtrees, std::span<float* const> parts, int64_t length,
                        device::ThreadPool& pool) const {
  pool.parallel_for(ceil_div(length, kFloatsPerTask), [&](int64_t task, int) {
    const int64_t begin = task * kFloatsPerTask;
    std::vector<float*> from(parts.begin(), parts.end());
    for (float*& part : from) part += begin;
    combine_cover(total_groups_, subtrees, from, std::min(kFloatsPerTask, length - begin));
  });
}

void GramParts::write(std::span<const float> triangle, device::ThreadPool& pool, tensor::Matrix<float> out) const {
  const auto row = [&](int64_t r) { return triangle.data() + row_begin(r) - r; };  // [c] is column c >= r
  pool.parallel_for(ceil_div(cols_, kMirrorEdge), [&](int64_t task, int) {
    const int64_t begin = task * kMirrorEdge;
    const int64_t end = std::min(cols_, begin + kMirrorEdge);
    for (int64_t r = begin; r < end; ++r) std::copy(row(r) + r, row(r) + cols_, out.row(r) + r);
    for (int64_t c_begin = begin; c_begin < cols_; c_begin += kMirrorEdge) {
      for (int64_t c = c_begin; c < std::min(cols_, c_begin + kMirrorEdge); ++c) {
        for (int64_t r = begin; r < std::min(end, c); ++r) out.row(c)[r] = row(r)[c];
      }
    }
  });
}

}  // namespace gridquant::ops
