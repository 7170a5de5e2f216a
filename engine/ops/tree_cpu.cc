// The fixed tree of ops/tree.h.
#include "engine/ops/tree.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/ops/add.h"

namespace gridquant::ops {
namespace {

float* floats(tensor::Buffer& buffer) {
  return reinterpret_cast<float*>(buffer.data());
}

void add_floats(float* to, float* from, int64_t length) {
  // One row each: the op cannot refuse the shapes.
  (void)add({from, 1, length, length}, {to, 1, length, length});
}

void add_into(tensor::Buffer& to, tensor::Buffer& from, int64_t length) {
  add_floats(floats(to), floats(from), length);
}

int64_t left_of(int64_t leaves) {
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(leaves - 1)));
}

void collect_within(Subtree tree, Subtree range, std::vector<Subtree>& out) {
  const int64_t end = tree.begin + tree.count;
  const int64_t range_end = range.begin + range.count;
  if (tree.count == 0 || end <= range.begin || range_end <= tree.begin) return;
  if (range.begin <= tree.begin && end <= range_end) return out.push_back(tree);
  const int64_t left = left_of(tree.count);
  collect_within({tree.begin, left}, range, out);
  collect_within({tree.begin + left, tree.count - left}, range, out);
}

// Takes the subtrees of `tree` off the front of what is left.
struct Cover {
  std::span<const Subtree> subtrees;
  std::span<float* const> parts;
  int64_t length;
  float* sum(Subtree tree) {
    if (subtrees.front().count == tree.count) {
      float* own = parts.front();
      subtrees = subtrees.subspan(1);
      parts = parts.subspan(1);
      return own;
    }
    const int64_t left = left_of(tree.count);
    float* to = sum({tree.begin, left});
    add_floats(to, sum({tree.begin + left, tree.count - left}), length);
    return to;
  }
};

}  // namespace

std::vector<Subtree> subtrees_within(int64_t leaves, Subtree range) {
  std::vector<Subtree> out;
  collect_within({0, leaves}, range, out);
  return out;
}

void combine_cover(int64_t leaves, std::span<const Subtree> subtrees, std::span<float* const> parts, int64_t length) {
  if (leaves > 0) Cover{subtrees, parts, length}.sum({0, leaves});
}

std::vector<Subtree> subtrees_of(int64_t leaves, int64_t wanted) {
  const int64_t most = std::max<int64_t>(1, leaves / std::max<int64_t>(1, wanted));
  const auto size = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(most)));
  std::vector<Subtree> subtrees;
  for (int64_t begin = 0; begin < leaves; begin += size) subtrees.push_back({begin, std::min(size, leaves - begin)});
  return subtrees;
}

float* TreeSum::next_leaf() {
  const auto bytes = static_cast<size_t>(length_) * sizeof(float);
  const auto large_enough = [&](const tensor::Buffer& b) { return b.size() >= bytes; };
  if (stack_.empty() && large_enough(leaf_)) return floats(leaf_);
  const auto found = std::ranges::find_if(spare_, large_enough);
  if (found == spare_.end()) {
    leaf_ = tensor::Buffer(bytes);
  } else {
    leaf_ = std::move(*found);
    spare_.erase(found);
  }
  return floats(leaf_);
}

void TreeSum::push() {
  stack_.push_back({std::move(leaf_), 1});
  while (stack_.size() > 1 && stack_[stack_.size() - 2].leaves == stack_.back().leaves) merge_top();
}

void TreeSum::merge_top() {
  Partial top = std::move(stack_.back());
  stack_.pop_back();
  add_into(stack_.back().sum, top.sum, length_);
  stack_.back().leaves += top.leaves;
  spare_.push_back(std::move(top.sum));
}

tensor::Buffer TreeSum::finish() {
  while (stack_.size() > 1) merge_top();
  return std::move(stack_.back().sum);
}

const float* combine_subtrees(std::span<tensor::Buffer> parts, int64_t length) {
  // The subtrees are the leaves of the upper part, which has the same shape.
  for (size_t step = 1; step < parts.size(); step *= 2) {
    for (size_t i = 0; i + step < parts.size(); i += 2 * step) add_into(parts[i], parts[i + step], length);
  }
  return floats(parts[0]);
}

}  // namespace gridquant::ops
