// Sums of a holder's subtrees, cut further where threads need it.
#include "engine/ops/gram_parts.h"

#include <algorithm>

#include "engine/ops/gram_run.h"

namespace gridquant::ops {
namespace {

// At least so many where K allows it: enough for the threads of one rank, and for ranks to share.
constexpr int64_t kWantedTiles = 16;
constexpr int64_t kTasksPerThread = 4;

}  // namespace

GramParts::GramParts(Compute compute, int64_t cols, int64_t total_groups)
    : total_groups_(total_groups), tiles_(cut_triangle(compute, cols, kWantedTiles)) {}

int64_t GramParts::tile_size(int64_t t) const {
  return area(tiles_[static_cast<size_t>(t)]);
}

Status GramParts::sum(const Operand& x, std::span<const RowGroup> groups, Subtree range, device::ThreadPool& pool,
                      const Place& place) const {
  GQ_RETURN_IF_ERROR(check_groups(x, groups));
  const int64_t wanted = kTasksPerThread * pool.threads();
  const std::vector<Subtree> nodes = subtrees(range);
  std::vector<Subtree> pieces;       // of `groups`
  std::vector<size_t> begins = {0};  // pieces of node n: begins[n] to begins[n + 1]
  for (const Subtree& node : nodes) {
    for (const Subtree& piece : subtrees_of(node.count, (wanted + tiles() - 1) / tiles())) {
      pieces.push_back({node.begin - range.begin + piece.begin, piece.count});
    }
    begins.push_back(pieces.size());
  }
  GramRun run(x, groups, pool, tiles_, pieces);
  GQ_RETURN_IF_ERROR(run.sum());
  pool.parallel_for(tiles(), [&](int64_t t, int) {
    const std::span<tensor::Buffer> parts = run.parts(t);
    for (size_t n = 0; n < nodes.size(); ++n) {
      const float* sums = combine_subtrees(parts.subspan(begins[n], begins[n + 1] - begins[n]), tile_size(t));
      std::copy_n(sums, tile_size(t), place(static_cast<int64_t>(n), t));
    }
    for (tensor::Buffer& part : parts) part = tensor::Buffer();
  });
  return absl::OkStatus();
}

void GramParts::combine(int64_t t, std::span<const Subtree> subtrees, std::span<float* const> parts) const {
  combine_cover(total_groups_, subtrees, parts, tile_size(t));
}

void GramParts::write(std::span<const float> sums, device::ThreadPool& pool, tensor::Matrix<float> out) const {
  std::vector<int64_t> begins = {0};
  for (int64_t t = 0; t < tiles(); ++t) begins.push_back(begins.back() + tile_size(t));
  pool.parallel_for(tiles(), [&](int64_t t, int) {
    write_tile(tiles_[static_cast<size_t>(t)], sums.data() + begins[static_cast<size_t>(t)], out);
  });
}

}  // namespace gridquant::ops
