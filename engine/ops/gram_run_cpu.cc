// The cut of the triangle and the sums of its rectangles. Neither the cut's bits nor the tree depends on the threads.
#include "engine/ops/gram_run.h"

#include <algorithm>

namespace gridquant::ops {
namespace {

// How the triangle is cut.
struct Cut {
  int64_t grain = 0;          // rectangles begin at multiples of this
  int64_t edge = 0;           // longest edge: a rectangle's fp32 sums and its operands stay near the L2 cache
  int64_t diagonal_edge = 0;  // squares on the diagonal are not cut further
};

// The library computes all of a square, our own kernel leaves out what lies below the diagonal. The library's bits may
// depend on the cut, so it has one; our kernel's do not, so that it may have smaller pieces for many threads.
constexpr Cut kLibraryCut{16, 384, 96};
constexpr Cut kKernelCut{96, 576, 576};
constexpr Cut kSmallKernelCut{96, 192, 192};
constexpr int64_t kMirrorEdge = 64;

int64_t middle_of(int64_t length, int64_t grain) {
  return (length / 2 + grain - 1) / grain * grain;
}

void cut_rectangle(const Cut& cut, const GramTile& r, std::vector<GramTile>& out) {
  if (r.rows > cut.edge) {
    const int64_t half = middle_of(r.rows, cut.grain);
    cut_rectangle(cut, {r.r0, half, r.c0, r.cols}, out);
    cut_rectangle(cut, {r.r0 + half, r.rows - half, r.c0, r.cols}, out);
  } else if (r.cols > cut.edge) {
    const int64_t half = middle_of(r.cols, cut.grain);
    cut_rectangle(cut, {r.r0, r.rows, r.c0, half}, out);
    cut_rectangle(cut, {r.r0, r.rows, r.c0 + half, r.cols - half}, out);
  } else {
    out.push_back(r);
  }
}

void cut_from(const Cut& cut, int64_t begin, int64_t length, std::vector<GramTile>& out) {
  if (length <= cut.diagonal_edge) {
    out.push_back({begin, length, begin, length});
    return;
  }
  const int64_t half = middle_of(length, cut.grain);
  cut_rectangle(cut, {begin, half, begin + half, length - half}, out);
  cut_from(cut, begin, half, out);
  cut_from(cut, begin + half, length - half, out);
}

void mirror(const GramTile& tile, const float* sums, int64_t r_begin, int64_t c_begin, tensor::Matrix<float> out) {
  const int64_t r_end = std::min(r_begin + kMirrorEdge, tile.rows);
  const int64_t c_end = std::min(c_begin + kMirrorEdge, tile.cols);
  for (int64_t c = c_begin; c < c_end; ++c) {
    float* to = out.row(tile.c0 + c) + tile.r0;
    const int64_t end = tile.diagonal() ? std::min(r_end, c) : r_end;
    for (int64_t r = r_begin; r < end; ++r) to[r] = sums[r * tile.cols + c];
  }
}

}  // namespace

int64_t area(const GramTile& tile) {
  return tile.rows * tile.cols;
}

std::vector<GramTile> cut_triangle(Compute compute, int64_t cols, int64_t wanted) {
  std::vector<GramTile> tiles;
  const bool ours = gram_tile_for(compute) != nullptr;
  cut_from(ours ? kKernelCut : kLibraryCut, 0, cols, tiles);
  if (ours && static_cast<int64_t>(tiles.size()) < wanted) {
    tiles.clear();
    cut_from(kSmallKernelCut, 0, cols, tiles);
  }
  std::ranges::stable_sort(tiles, std::greater<>(), area);
  return tiles;
}

void write_tile(const GramTile& tile, const float* sums, tensor::Matrix<float> out) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    // A square on the diagonal holds both halves; only its upper one is used, so that H is exactly symmetric.
    const int64_t skip = tile.diagonal() ? r : 0;
    std::copy(sums + r * tile.cols + skip, sums + (r + 1) * tile.cols, out.row(tile.r0 + r) + tile.c0 + skip);
  }
  for (int64_t r = 0; r < tile.rows; r += kMirrorEdge) {
    for (int64_t c = 0; c < tile.cols; c += kMirrorEdge) mirror(tile, sums, r, c, out);
  }
}

GramRun::GramRun(const Operand& x, std::span<const RowGroup> groups, device::ThreadPool& pool,
                 std::span<const GramTile> tiles, std::span<const Subtree> subtrees)
    : x_(x),
      kernel_(gram_tile_for(x.compute)),
      groups_(groups),
      pool_(pool),
      tiles_(tiles),
      subtrees_(subtrees),
      partial_(tiles.size() * subtrees.size()),
      threads_(static_cast<size_t>(pool.threads())) {
  if (pool.memory() == nullptr) return;  // each sum brings its own memory
  for (size_t i = 0; i < partial_.size(); ++i) {
    partial_[i] = tensor::Buffer(static_cast<size_t>(area(tiles[i / subtrees.size()])) * sizeof(float), pool.memory());
  }
}

// Rectangles of one subtree run one after the other, so that its rows of X are read once from memory.
Status GramRun::sum() {
  const auto tiles = static_cast<int64_t>(tiles_.size());
  pool_.parallel_for(static_cast<int64_t>(partial_.size()), [&](int64_t task, int thread) {
    sum_subtree(task % tiles, task / tiles, threads_[static_cast<size_t>(thread)]);
  });
  return status();
}

std::span<tensor::Buffer> GramRun::parts(int64_t tile) {
  return std::span(partial_).subspan(static_cast<size_t>(tile) * subtrees_.size(), subtrees_.size());
}

void GramRun::drop_parts(int64_t tile) {
  if (pool_.memory() != nullptr) return;
  for (tensor::Buffer& part : parts(tile)) part = tensor::Buffer();
}

Status GramRun::status() {
  absl::MutexLock lock(&mutex_);
  return status_;
}

void GramRun::fail(const Status& status) {
  absl::MutexLock lock(&mutex_);
  status_.Update(status);
  failed_ = true;
}

Status GramRun::add_group(const GramTile& tile, const RowGroup& group, ThreadState& thread, float* sums) {
  if (group.count == 0) {
    std::fill_n(sums, area(tile), 0.0f);
    return absl::OkStatus();
  }
  const Operand rows = x_.row_range(group.begin, group.count);
  if (kernel_ != nullptr) {
    kernel_(rows, tile, sums, thread.workspace);
    return absl::OkStatus();
  }
  const std::array<int64_t, 3> key{tile.rows, tile.cols, group.count};
  auto found = thread.products.find(key);
  if (found == thread.products.end()) {
    const ProductShape shape{tile.rows, tile.cols, group.count, x_.stride, x_.stride, tile.cols, true, false};
    GQ_ASSIGN_OR_RETURN(Product product, Product::create(x_.compute, shape));
    found = thread.products.emplace(key, std::move(product)).first;
  }
  const size_t element = operand_size(x_.compute);
  return found->second.run(rows.data + static_cast<size_t>(tile.r0) * element,
                           rows.data + static_cast<size_t>(tile.c0) * element, sums, thread.workspace);
}

void GramRun::sum_subtree(int64_t tile_index, int64_t subtree_index, ThreadState& thread) {
  if (failed_) return;
  const GramTile& tile = tiles_[static_cast<size_t>(tile_index)];
  const Subtree subtree = subtrees_[static_cast<size_t>(subtree_index)];
  tensor::Buffer& result =
      partial_[static_cast<size_t>(tile_index) * subtrees_.size() + static_cast<size_t>(subtree_index)];
  TreeSum sum(area(tile), thread.spare, std::move(result));
  for (int64_t g = subtree.begin; g < subtree.begin + subtree.count; ++g) {
    const Status status = add_group(tile, groups_[static_cast<size_t>(g)], thread, sum.next_leaf());
    if (!status.ok()) return fail(status);
    sum.push();
  }
  result = sum.finish();
}

}  // namespace gridquant::ops
