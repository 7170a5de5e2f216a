// Inside engine/ops only: what gram and GramParts share. The upper triangle is cut into rectangles, big ones off the
// diagonal and ever smaller squares along it, so that little of the lower half is computed. A task is one rectangle
// over one subtree of the row groups.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/device/thread_pool.h"
#include "engine/ops/gram.h"
#include "engine/ops/gram_tile.h"
#include "engine/ops/product.h"
#include "engine/ops/tree.h"

namespace gridquant::ops {

int64_t area(const GramTile& tile);

// The rectangles of a triangle of `cols` columns, the largest first. Where the CPU has a kernel of ours, at least
// `wanted` of them if that is possible: its bits do not depend on the cut.
std::vector<GramTile> cut_triangle(Compute compute, int64_t cols, int64_t wanted);

// Writes a rectangle's sums to its place in `out` and, mirrored, to the other half.
void write_tile(const GramTile& tile, const float* sums, tensor::Matrix<float> out);

class GramRun {
 public:
  // `subtrees` are of `groups`, in order. Borrows everything.
  GramRun(const Operand& x, std::span<const RowGroup> groups, device::ThreadPool& pool, std::span<const GramTile> tiles,
          std::span<const Subtree> subtrees);

  // Sums every rectangle over every subtree.
  Status sum();
  // Of one rectangle, in order of the subtrees.
  std::span<tensor::Buffer> parts(int64_t tile);
  // In a task: they are not needed any more.
  void drop_parts(int64_t tile);

 private:
  // Products of one thread, made when first needed.
  struct ThreadState {
    std::map<std::array<int64_t, 3>, Product> products;
    Workspace workspace;
    std::vector<tensor::Buffer> spare;
  };
  Status status();
  void fail(const Status& status);
  Status add_group(const GramTile& tile, const RowGroup& group, ThreadState& thread, float* sums);
  void sum_subtree(int64_t tile_index, int64_t subtree_index, ThreadState& thread);

  const Operand& x_;
  const GramTileFn kernel_;
  std::span<const RowGroup> groups_;
  device::ThreadPool& pool_;
  std::span<const GramTile> tiles_;
  std::span<const Subtree> subtrees_;
  std::vector<tensor::Buffer> partial_;  // [tile, subtree]
  std::vector<ThreadState> threads_;
  absl::Mutex mutex_;
  Status status_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> failed_{false};
};

}  // namespace gridquant::ops
