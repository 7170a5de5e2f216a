// The scale search: fp16 rounding, brute force, constraints.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/quant/search/candidates.h"
#include "engine/quant/search/scale_search.h"
#include "engine/quant/solver/row_tile.h"
#include "tests/unit/quant/samples.h"

namespace gridquant::quant {
namespace {

constexpr int64_t kCols = 32;

struct Found {
  alignas(64) float scale[kTileRows];
  alignas(64) float zero[kTileRows];
};

class ScaleSearchTest : public ::testing::Test {
 protected:
  // Rows of `w` ([kTileRows, kCols]) into the kernel's layout.
  void load(const samples::Array& w) {
    for (int64_t r = 0; r < kTileRows; ++r) {
      for (int64_t c = 0; c < kCols; ++c) tile()[c * kTileRows + r] = w[static_cast<size_t>(r * kCols + c)];
    }
  }
  float* tile() { return reinterpret_cast<float*>(tile_.data()); }
  float weight(int64_t row, int64_t col) { return tile()[col * kTileRows + row]; }

  double error(int64_t row, double scale, double zero, const GridSpec& grid) {
    double sum = 0;
    for (int64_t c = 0; c < kCols; ++c) {
      const double w = weight(row, c);
      const double code = std::clamp(std::rint(w / scale) + zero, 0.0, static_cast<double>(grid.max_code()));
      sum += importance_[static_cast<size_t>(c)] * std::pow(w - scale * (code - zero), 2);
    }
    return sum;
  }

  // The least error over a dense sweep of scales of either sign and every allowed zero point.
  double brute_force(int64_t row, const GridSpec& grid) {
    double extreme = 0;
    for (int64_t c = 0; c < kCols; ++c) extreme = std::max<double>(extreme, std::abs(weight(row, c)));
    double best = std::numeric_limits<double>::infinity();
    const int middle = 1 << (grid.bits - 1);
    for (int step = 1; step <= 1000; ++step) {
      const double scale = 2.2 * extreme * step / 1000.0 / middle;
      if (grid.symmetric) {
        best = std::min({best, error(row, scale, middle, grid), error(row, -scale, middle, grid)});
        continue;
      }
      for (int zero = 1; zero <= grid.max_code(); ++zero) best = std::min(best, error(row, scale, zero, grid));
    }
    return best;
  }

  Found search(const GridSpec& grid, ScaleSearch how) {
    Found found;
    search_group({tile(), kCols, importance_.data()}, grid, how, {found.scale, found.zero});
    return found;
  }

  tensor::Buffer tile_{sizeof(float) * static_cast<size_t>(kTileRows * kCols)};
  std::vector<float> importance_ = std::vector<float>(kCols, 1.0f);
};

TEST_F(ScaleSearchTest, NearTheBestOfBruteForce) {
  samples::Noise noise(1);
  for (float& h : importance_) h = std::exp2(noise.bell());
  load(samples::weights(kTileRows, kCols, 2));
  for (const int bits : {2, 3, 4}) {
    for (const bool symmetric : {true, false}) {
      const GridSpec grid{.bits = bits, .symmetric = symmetric, .group_size = kCols};
      const Found found = search(grid, ScaleSearch::kWeighted);
      const Found whole = search(grid, ScaleSearch::kAbsMax);
      double sum = 0, best = 0, plain = 0;
      for (int64_t r = 0; r < 24; ++r) {
        const double own = error(r, found.scale[r], found.zero[r], grid);
        const double least = brute_force(r, grid);
        EXPECT_LT(own, 1.35 * least) << bits << symmetric << " row " << r;
        sum += own, best += least, plain += error(r, whole.scale[r], whole.zero[r], grid);
      }
      EXPECT_LT(sum, 1.06 * best) << bits << symmetric;
      EXPECT_LT(sum, 0.93 * plain) << bits << symmetric;
    }
  }
}

TEST_F(ScaleSearchTest, FindsAnExactGrid) {
  samples::Noise noise(4);
  const float scale = tensor::to_float(tensor::to_f16(0.0123f));
  samples::Array w(kTileRows * kCols);
  for (float& x : w) x = scale * std::rint(std::clamp(3.0f * noise.bell(), -8.0f, 7.0f));
  for (int64_t r = 0; r < kTileRows; ++r) w[static_cast<size_t>(r * kCols)] = -8 * scale;
  load(w);
  const GridSpec grid{.bits = 4, .symmetric = true, .group_size = kCols};
  const Found found = search(grid, ScaleSearch::kWeighted);
  for (int64_t r = 0; r < kTileRows; ++r) {
    EXPECT_EQ(found.scale[r], scale) << r;
    EXPECT_EQ(error(r, found.scale[r], found.zero[r], grid), 0) << r;
  }
}

TEST_F(ScaleSearchTest, ScalesAreFp16ValuesInRange) {
  // Powers from far below the smallest fp16 to far above the largest.
  samples::Array w(kTileRows * kCols);
  samples::Noise noise(6);
  for (int64_t r = 0; r < kTileRows; ++r) {
    for (int64_t c = 0; c < kCols; ++c) {
      w[static_cast<size_t>(r * kCols + c)] = std::ldexp(noise.bell(), static_cast<int>(2 * r) - 50);
    }
  }
  load(w);
  for (const auto how : {ScaleSearch::kAbsMax, ScaleSearch::kWeighted}) {
    for (const bool symmetric : {true, false}) {
      const Found found = search({.bits = 4, .symmetric = symmetric, .group_size = kCols}, how);
      for (int64_t r = 0; r < kTileRows; ++r) {
        const float s = found.scale[r];
        EXPECT_EQ(tensor::to_float(tensor::to_f16(s)), s) << r;
        EXPECT_GE(std::abs(s), 0x1p-24f);
        EXPECT_LE(std::abs(s), 65504.0f);
        EXPECT_GE(found.zero[r], 1);
        EXPECT_LE(found.zero[r], 15);
        EXPECT_EQ(found.zero[r], std::rint(found.zero[r]));
      }
    }
  }
}

// The vector rounding against tensor::to_f16, seen through the absmax rule: bits = 8, scale = 2 * extreme / 255.
TEST_F(ScaleSearchTest, RoundsScalesAsTheTensorLayerDoes) {
  samples::Noise noise(8);
  const GridSpec grid{.bits = 8, .symmetric = true, .group_size = kCols};
  for (int round = 0; round < 50; ++round) {
    samples::Array w(kTileRows * kCols, 0.0f);
    for (int64_t r = 0; r < kTileRows; ++r) {
      w[static_cast<size_t>(r * kCols)] = std::ldexp(1.0f + 0.5f * noise.uniform(), round - 20);
    }
    load(w);
    const Found found = search(grid, ScaleSearch::kAbsMax);
    for (int64_t r = 0; r < kTileRows; ++r) {
      const float exact = 2 * w[static_cast<size_t>(r * kCols)] / 255.0f;
      const float expected = std::clamp(tensor::to_float(tensor::to_f16(exact)), 0x1p-24f, 65504.0f);
      ASSERT_EQ(found.scale[r], expected) << exact;
    }
  }
}

TEST_F(ScaleSearchTest, CandidateListsFitTheKernel) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      const Candidates& c = candidates_for({.bits = bits, .symmetric = symmetric, .group_size = kCols});
      EXPECT_EQ(c.steps.size() % 4, 0u);
      EXPECT_FALSE(c.steps.empty());
      EXPECT_EQ(c.zero_shifts.front(), 0.0f);
    }
  }
}

}  // namespace
}  // namespace gridquant::quant
