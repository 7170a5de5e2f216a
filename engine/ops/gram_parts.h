// gram by several holders of row groups, such as ranks, with the bits of gram over all groups: each holder sums the
// subtrees of the fixed tree that lie in its groups; then rows of the triangle change hands, and whoever has a row of
// all subtrees finishes it. Each holder cuts the triangle as suits its own threads: what they exchange are rows, not
// its rectangles. Not here: moving the rows.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/ops/gram.h"
#include "engine/ops/tree.h"

namespace gridquant::ops {

class GramParts {
 public:
  GramParts(int64_t cols, int64_t total_groups) : cols_(cols), total_groups_(total_groups) {}

  int64_t rows() const { return cols_; }
  // The upper triangle's rows, one after the other: row r has its elements from column r on. In floats.
  int64_t row_begin(int64_t r) const { return r * cols_ - r * (r - 1) / 2; }
  int64_t size() const { return row_begin(cols_); }
  // What the holder of groups [range.begin, range.begin + range.count) sums.
  std::vector<Subtree> subtrees(Subtree range) const { return subtrees_within(total_groups_, range); }

  // Where row `r` of the sums over the holder's subtree number `s` goes: cols - r floats.
  using Place = std::function<float*(int64_t s, int64_t r)>;
  // `x` has the rows of the holder's `groups` (of numbers range.begin, ...). Every place is written.
  Status sum(const Operand& x, std::span<const RowGroup> groups, Subtree range, device::ThreadPool& pool,
             const Place& place) const;
  // Rows that follow each other, `length` floats in all, of all subtrees, in order; together these cover all groups.
  // The sum lies in parts[0] then.
  void combine(std::span<const Subtree> subtrees, std::span<float* const> parts, int64_t length,
               device::ThreadPool& pool) const;
  // The whole triangle to the symmetric result [cols, cols].
  void write(std::span<const float> triangle, device::ThreadPool& pool, tensor::Matrix<float> out) const;

 private:
  int64_t cols_;
  int64_t total_groups_;
};

}  // namespace gridquant::ops
