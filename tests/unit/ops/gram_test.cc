// The bits of `gram`: the same for any number of threads and holders, the promised tree over groups, exact for exact
// inputs.
#include "engine/ops/gram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/ops/gram_parts.h"
#include "hwy/highway.h"

namespace gridquant::ops {
namespace {

constexpr int64_t kRows = 7 * 40;
constexpr int64_t kCols = 250;

OperandBuffer make_x(Compute compute, bool integers) {
  OperandBuffer x(compute, kRows, kCols);
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < kRows * kCols; ++i) {
    const float v = integers ? static_cast<float>(static_cast<int>(random() % 15) - 7) : normal(random);
    if (compute == Compute::kBF16) {
      x.view().bf16().data[i] = tensor::to_bf16(v);
    } else {
      x.view().f32().data[i] = v;
    }
  }
  return x;
}

std::vector<RowGroup> groups_of(int64_t begin, int64_t count, int64_t size) {
  std::vector<RowGroup> groups;
  for (int64_t g = 0; g < count; ++g) groups.push_back({begin + g * size, size});
  return groups;
}

std::vector<float> run(const OperandBuffer& x, const std::vector<RowGroup>& groups, int threads) {
  device::ThreadPool pool(threads);
  std::vector<float> h(static_cast<size_t>(kCols * kCols));
  EXPECT_TRUE(gram(x.view(), groups, pool, {h.data(), kCols, kCols, kCols}).ok());
  return h;
}

std::vector<float> sum(std::vector<float> a, const std::vector<float>& b) {
  std::ranges::transform(a, b, a.begin(), std::plus<>());
  return a;
}

class Gram : public testing::TestWithParam<Compute> {};

TEST_P(Gram, SameBitsForAnyNumberOfThreads) {
  const OperandBuffer x = make_x(GetParam(), false);
  const auto groups = groups_of(0, 7, 40);
  const std::vector<float> one = run(x, groups, 1);
  for (const int threads : {2, 3, 16}) EXPECT_EQ(run(x, groups, threads), one) << threads;
}

TEST_P(Gram, GroupsAreSummedInTheFixedTree) {
  const OperandBuffer x = make_x(GetParam(), false);
  std::vector<std::vector<float>> leaf;
  for (int64_t g = 0; g < 7; ++g) leaf.push_back(run(x, groups_of(g * 40, 1, 40), 1));
  // ((0 + 1) + (2 + 3)) + ((4 + 5) + 6)
  const auto tree = sum(sum(sum(leaf[0], leaf[1]), sum(leaf[2], leaf[3])), sum(sum(leaf[4], leaf[5]), leaf[6]));
  EXPECT_EQ(run(x, groups_of(0, 7, 40), 2), tree);
  // So a rank that holds the first four leaves and one that holds the rest need only add their sums.
  EXPECT_EQ(sum(run(x, groups_of(0, 4, 40), 2), run(x, groups_of(160, 3, 40), 2)), tree);
}

TEST_P(Gram, ExactForSmallIntegers) {
  const OperandBuffer x = make_x(GetParam(), true);
  const std::vector<float> h = run(x, groups_of(0, 7, 40), 2);
  for (int64_t i = 0; i < kCols; i += 7) {
    for (int64_t j = 0; j < kCols; ++j) {
      int64_t want = 0;
      for (int64_t r = 0; r < kRows; ++r) {
        const auto value = [&](int64_t c) {
          return static_cast<int64_t>(GetParam() == Compute::kBF16 ? tensor::to_float(x.view().bf16().row(r)[c])
                                                                   : x.view().f32().row(r)[c]);
        };
        want += value(i) * value(j);
      }
      ASSERT_EQ(h[static_cast<size_t>(i * kCols + j)], static_cast<float>(want)) << i << ", " << j;
    }
  }
}

// AVX2 and wider multiply and add in one step, an element's rows in order: the vector width does not show.
TEST(GramF32, SameBitsAtEveryVectorWidthWithFusedSteps) {
  const OperandBuffer x = make_x(Compute::kF32, false);
  std::vector<std::vector<float>> results;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if (target != HWY_AVX2 && target != HWY_AVX3) continue;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    results.push_back(run(x, groups_of(0, 7, 40), 2));
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  if (results.size() < 2) GTEST_SKIP() << "this CPU has fewer than two such widths";
  EXPECT_EQ(results[0], results[1]);
}

// Holders with one, two, ... threads, so that each cuts the triangle in its own way.
TEST_P(Gram, SameBitsByHoldersOfGroups) {
  const OperandBuffer x = make_x(GetParam(), false);
  const std::vector<float> want = run(x, groups_of(0, 7, 40), 1);
  const GramParts parts(kCols, 7);
  const auto size = static_cast<size_t>(parts.size());
  for (const std::vector<int64_t>& ends : {std::vector<int64_t>{4, 7}, {3, 7}, {0, 1, 3, 7}, {2, 4, 6, 6, 7}}) {
    std::vector<Subtree> nodes;
    std::vector<std::vector<float>> triangles;  // of each node
    int64_t begin = 0;
    for (int threads = 1; const int64_t end : ends) {
      device::ThreadPool pool(threads++);
      const Subtree range{begin, end - begin};
      const size_t first = triangles.size();
      for (const Subtree& node : parts.subtrees(range)) nodes.push_back(node);
      triangles.resize(nodes.size(), std::vector<float>(size));
      ASSERT_TRUE(parts
                      .sum(x.view(), groups_of(begin * 40, range.count, 40), range, pool,
                           [&](int64_t s, int64_t r) { return triangles[first + s].data() + parts.row_begin(r); })
                      .ok());
      begin = end;
    }
    std::vector<float*> all;
    for (std::vector<float>& triangle : triangles) all.push_back(triangle.data());
    device::ThreadPool pool(3);
    parts.combine(nodes, all, parts.size(), pool);
    std::vector<float> h(static_cast<size_t>(kCols * kCols));
    parts.write({all[0], size}, pool, {h.data(), kCols, kCols, kCols});
    EXPECT_EQ(h, want) << ends.size() << " holders";
  }
}

TEST_P(Gram, StridedInputAndOutput) {
  const OperandBuffer x = make_x(GetParam(), false);
  Operand part = x.view();
  part.cols = 100;  // stride stays 250
  device::ThreadPool pool(2);
  std::vector<float> h(100 * 128, -1.0f);
  ASSERT_TRUE(gram(part, groups_of(0, 7, 40), pool, {h.data(), 100, 100, 128}).ok());
  EXPECT_EQ(h[100], -1.0f);  // outside of the result
  const std::vector<float> whole = run(x, groups_of(0, 7, 40), 1);
  for (size_t i = 0; i < 100; ++i) {
    for (size_t j = 0; j < 100; ++j) {
      EXPECT_NEAR(h[i * 128 + j], whole[i * kCols + j], 1e-3f * (1 + std::abs(whole[i * kCols + j])));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Computes, Gram, testing::Values(Compute::kF32, Compute::kBF16),
                         [](const auto& info) { return std::string(device::name_of(info.param)); });

}  // namespace
}  // namespace gridquant::ops
