// Sums over row groups in one fixed binary tree. The tree over n leaves has a left child of the
// largest power of two below n (the shape of a Merkle tree log): so it can be summed as leaves arrive, and a subtree of
// 2^k leaves beginning at a multiple of 2^k can be summed by itself, on another thread or rank, with the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/tensor/tensor.h"

namespace gridquant::ops {

struct Subtree {
  int64_t begin = 0;
  int64_t count = 0;
};

// Leaves [0, leaves) cut into at least `wanted` subtrees where there are so many leaves: equal powers of two but for
// the last.
std::vector<Subtree> subtrees_of(int64_t leaves, int64_t wanted);

// The largest subtrees of the tree over `leaves` that lie in `range`, in order: what a holder of these leaves can sum
// alone.
std::vector<Subtree> subtrees_within(int64_t leaves, Subtree range);

// Sums arrays of `length` floats. Use: fill next_leaf(), push(), ...; finish() after at least one push. Memory that is
// not needed any more goes to `spare`, to be taken from there again: fresh memory costs a page fault for every 4 KiB.
class TreeSum {
 public:
  // `result`, where it is large enough, is what finish() returns.
  TreeSum(int64_t length, std::vector<tensor::Buffer>& spare, tensor::Buffer result = {})
      : length_(length), leaf_(std::move(result)), spare_(spare) {}
  float* next_leaf();
  void push();
  tensor::Buffer finish();

 private:
  void merge_top();  // the two topmost sums become one

  struct Partial {
    tensor::Buffer sum;
    int64_t leaves = 0;
  };
  int64_t length_;
  std::vector<Partial> stack_;  // sizes are powers of two, decreasing
  tensor::Buffer leaf_;         // the first one's memory is the whole sum's in the end
  std::vector<tensor::Buffer>& spare_;
};

// Adds the subtrees' sums (in order, each from subtrees_of) up the rest of the tree; the result lies in parts[0].
const float* combine_subtrees(std::span<tensor::Buffer> parts, int64_t length);

// The same of any subtrees that cover the tree over `leaves`, in order, such as subtrees_within of ranges that follow
// each other. The result lies in parts[0].
void combine_cover(int64_t leaves, std::span<const Subtree> subtrees, std::span<float* const> parts, int64_t length);

}  // namespace gridquant::ops
