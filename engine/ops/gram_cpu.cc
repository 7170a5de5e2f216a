// Op `gram` on the CPU. The upper triangle is cut into rectangles, big ones off the diagonal and ever smaller squares
// along it, so that little of the lower half is computed. A task is one rectangle over one subtree of the row groups;
// what a rectangle's subtrees gave is then added in the same tree's upper part and mirrored. Neither the cut of the
// rectangles nor the tree depends on the number of threads.
#include "engine/ops/gram.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/ops/gram_tile.h"
#include "engine/ops/product.h"
#include "engine/ops/tree.h"

namespace gridquant::ops {
namespace {

using Rect = GramTile;  // of H: rows [r0, r0 + rows) x columns [c0, c0 + cols), on or above the diagonal

int64_t area(const Rect& r) {
  return r.rows * r.cols;
}

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

constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kPartialBytes = 64 << 20;  // of sums of subtrees; more only where parallelism needs it
constexpr int64_t kMirrorEdge = 64;

int64_t middle_of(int64_t length, int64_t grain) {
  return (length / 2 + grain - 1) / grain * grain;
}

void cut_rectangle(const Cut& cut, const Rect& r, std::vector<Rect>& out) {
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

void cut_triangle(const Cut& cut, int64_t begin, int64_t length, std::vector<Rect>& out) {
  if (length <= cut.diagonal_edge) {
    out.push_back({begin, length, begin, length});
    return;
  }
  const int64_t half = middle_of(length, cut.grain);
  cut_rectangle(cut, {begin, half, begin + half, length - half}, out);
  cut_triangle(cut, begin, half, out);
  cut_triangle(cut, begin + half, length - half, out);
}

// Products of one thread, made when first needed.
struct ThreadState {
  std::map<std::array<int64_t, 3>, Product> products;
  Workspace workspace;
  std::vector<tensor::Buffer> spare;
};

class GramRun {
 public:
  GramRun(const Operand& x, const std::vector<RowGroup>& groups, device::ThreadPool& pool, tensor::Matrix<float> out)
      : x_(x), groups_(groups), pool_(pool), out_(out), threads_(static_cast<size_t>(pool.threads())) {
    const int64_t wanted = kTasksPerThread * pool.threads();
    cut_triangle(kernel_ != nullptr ? kKernelCut : kLibraryCut, 0, x.cols, rects_);
    if (kernel_ != nullptr && static_cast<int64_t>(rects_.size() * groups.size()) < wanted) {
      rects_.clear();
      cut_triangle(kSmallKernelCut, 0, x.cols, rects_);
    }
    std::ranges::stable_sort(rects_, std::greater<>(), area);
    const auto rects = static_cast<int64_t>(rects_.size());
    int64_t areas = 0;
    for (const Rect& rect : rects_) areas += area(rect);
    // Rectangles of one subtree run one after the other, so that its rows of X are read once from memory.
    const int64_t for_threads = (wanted + rects - 1) / rects;
    const int64_t for_caches = kPartialBytes / (areas * static_cast<int64_t>(sizeof(float)));
    subtrees_ = subtrees_of(static_cast<int64_t>(groups.size()), std::max(for_threads, for_caches));
    partial_.resize(rects_.size() * subtrees_.size());
  }

  Status run() {
    const auto rects = static_cast<int64_t>(rects_.size());
    pool_.parallel_for(static_cast<int64_t>(partial_.size()), [&](int64_t task, int thread) {
      sum_subtree(task % rects, task / rects, threads_[static_cast<size_t>(thread)]);
    });
    GQ_RETURN_IF_ERROR(status());
    pool_.parallel_for(static_cast<int64_t>(rects_.size()), [&](int64_t rect, int) { finish(rect); });
    return absl::OkStatus();
  }

 private:
  Status status() {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  void fail(const Status& status) {
    absl::MutexLock lock(&mutex_);
    status_.Update(status);
    failed_ = true;
  }

  Status add_group(const Rect& rect, const RowGroup& group, ThreadState& thread, float* tile) {
    if (group.count == 0) {
      std::fill_n(tile, area(rect), 0.0f);
      return absl::OkStatus();
    }
    const Operand rows = x_.row_range(group.begin, group.count);
    if (kernel_ != nullptr) {
      kernel_(rows, rect, tile, thread.workspace);
      return absl::OkStatus();
    }
    const std::array<int64_t, 3> key{rect.rows, rect.cols, group.count};
    auto found = thread.products.find(key);
    if (found == thread.products.end()) {
      const ProductShape shape{rect.rows, rect.cols, group.count, x_.stride, x_.stride, rect.cols, true, false};
      GQ_ASSIGN_OR_RETURN(Product product, Product::create(x_.compute, shape));
      found = thread.products.emplace(key, std::move(product)).first;
    }
    const size_t element = operand_size(x_.compute);
    return found->second.run(rows.data + static_cast<size_t>(rect.r0) * element,
                             rows.data + static_cast<size_t>(rect.c0) * element, tile, thread.workspace);
  }

  void sum_subtree(int64_t rect_index, int64_t subtree_index, ThreadState& thread) {
    if (failed_) return;
    const Rect& rect = rects_[static_cast<size_t>(rect_index)];
    const Subtree subtree = subtrees_[static_cast<size_t>(subtree_index)];
    TreeSum sum(area(rect), thread.spare);
    for (int64_t g = subtree.begin; g < subtree.begin + subtree.count; ++g) {
      const Status status = add_group(rect, groups_[static_cast<size_t>(g)], thread, sum.next_leaf());
      if (!status.ok()) return fail(status);
      sum.push();
    }
    partial_[static_cast<size_t>(rect_index) * subtrees_.size() + static_cast<size_t>(subtree_index)] = sum.finish();
  }

  void finish(int64_t rect_index) {
    const Rect& rect = rects_[static_cast<size_t>(rect_index)];
    tensor::Buffer* parts = partial_.data() + static_cast<size_t>(rect_index) * subtrees_.size();
    const float* sum = combine_subtrees({parts, subtrees_.size()}, area(rect));
    for (int64_t r = 0; r < rect.rows; ++r) {
      // A square on the diagonal holds both halves; only its upper one is used, so that H is exactly symmetric.
      const int64_t skip = rect.diagonal() ? r : 0;
      std::copy(sum + r * rect.cols + skip, sum + (r + 1) * rect.cols, out_.row(rect.r0 + r) + rect.c0 + skip);
    }
    for (int64_t r = 0; r < rect.rows; r += kMirrorEdge) {
      for (int64_t c = 0; c < rect.cols; c += kMirrorEdge) mirror(rect, sum, r, c);
    }
    for (size_t i = 0; i < subtrees_.size(); ++i) parts[i] = tensor::Buffer();
  }

  void mirror(const Rect& rect, const float* sum, int64_t r_begin, int64_t c_begin) const {
    const int64_t r_end = std::min(r_begin + kMirrorEdge, rect.rows);
    const int64_t c_end = std::min(c_begin + kMirrorEdge, rect.cols);
    for (int64_t c = c_begin; c < c_end; ++c) {
      float* to = out_.row(rect.c0 + c) + rect.r0;
      const int64_t end = rect.diagonal() ? std::min(r_end, c) : r_end;
      for (int64_t r = r_begin; r < end; ++r) to[r] = sum[r * rect.cols + c];
    }
  }

  const Operand& x_;
  const GramTileFn kernel_ = gram_tile_for(x_.compute);
  const std::vector<RowGroup>& groups_;
  device::ThreadPool& pool_;
  tensor::Matrix<float> out_;
  std::vector<Rect> rects_;
  std::vector<Subtree> subtrees_;
  std::vector<tensor::Buffer> partial_;  // [rect, subtree]
  std::vector<ThreadState> threads_;
  absl::Mutex mutex_;
  Status status_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> failed_{false};
};

}  // namespace

Status gram(const Operand& x, const std::vector<RowGroup>& groups, device::ThreadPool& pool,
            tensor::Matrix<float> out) {
  if (out.rows != x.cols || out.cols != x.cols) {
    return absl::InvalidArgumentError(
        absl::StrCat("gram: x has ", x.cols, " columns, the result is ", out.rows, " x ", out.cols));
  }
  for (const RowGroup& group : groups) {
    if (group.begin < 0 || group.count < 0 || group.begin > x.rows || group.count > x.rows - group.begin) {
      return absl::InvalidArgumentError(absl::StrCat("gram: rows [", group.begin, ", ", group.begin + group.count,
                                                     ") of a matrix of ", x.rows, " rows"));
    }
  }
  if (x.cols == 0) return absl::OkStatus();
  if (groups.empty()) {
    for (int64_t r = 0; r < out.rows; ++r) std::fill_n(out.row(r), out.cols, 0.0f);
    return absl::OkStatus();
  }
  return GramRun(x, groups, pool, out).run();
}

}  // namespace gridquant::ops
