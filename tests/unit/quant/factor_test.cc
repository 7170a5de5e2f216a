// The site factor against an fp64 reference; dead columns; the damping ladder; threads.
#include "engine/quant/factor/ldl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/quant/solver.h"
#include "tests/unit/quant/samples.h"

namespace gridquant::quant {
namespace {

using samples::Array;

// How far A^-1 H A^-T is from diagonal, in fp64, H being the damped Hessian in the factor's order: the largest
// |M_ij| / sqrt(M_ii M_jj) off the diagonal; 1 if an M_ii is not positive.
double diagonal_error(const SiteFactor& f, const Array& h, double mean) {
  const auto n = static_cast<int64_t>(f.order.size());
  const auto a = f.feedback.matrix<float>();
  std::vector<double> m(static_cast<size_t>(n * n));
  const auto at = [&](int64_t i, int64_t j) -> double& { return m[static_cast<size_t>(i * n + j)]; };
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t row = f.order[static_cast<size_t>(i)], col = f.order[static_cast<size_t>(j)];
      at(i, j) = h[static_cast<size_t>(row * n + col)];
      if (i == j) at(i, j) = (f.dead[static_cast<size_t>(row)] ? mean : at(i, j)) + f.damping * mean;
    }
  }
  for (int64_t i = n - 1; i >= 0; --i) {  // rows from the last: M = A^-1 H
    for (int64_t k = i + 1; k < n; ++k) {
      for (int64_t j = 0; j < n; ++j) at(i, j) -= static_cast<double>(a.row(k)[i]) * at(k, j);
    }
  }
  for (int64_t j = n - 1; j >= 0; --j) {  // and columns: M = A^-1 H A^-T
    for (int64_t k = j + 1; k < n; ++k) {
      for (int64_t i = 0; i < n; ++i) at(i, j) -= static_cast<double>(a.row(k)[j]) * at(i, k);
    }
  }
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!(at(i, i) > 0)) return 1;
    for (int64_t j = 0; j < i; ++j) {
      worst = std::max({worst, std::abs(at(i, j)) / std::sqrt(at(i, i) * at(j, j)),
                        std::abs(at(j, i)) / std::sqrt(at(i, i) * at(j, j))});
    }
  }
  return worst;
}

SolverOptions damped(double damp_percent, bool act_order = true) {
  SolverOptions options;
  options.damp_percent = damp_percent;
  options.act_order = act_order;
  return options;
}

double mean_of(const SiteFactor& f) {
  double sum = 0, live = 0;
  for (size_t i = 0; i < f.diagonal.size(); ++i) sum += f.diagonal[i], live += f.dead[i] ? 0 : 1;
  return sum / live;
}

StatusOr<SiteFactor> factor(const Array& h, int64_t n, const SolverOptions& options, int threads = 2) {
  device::ThreadPool pool(threads);
  return factor_site(samples::square_tensor(h, n), options, pool);
}

TEST(Factor, FactorizesTheDampedHessian) {
  for (const int64_t n : {1, 2, 31, 128, 129, 300}) {
    const Array h = samples::hessian(n, 3);
    for (const double damp : {0.05, 0.01}) {
      for (const bool act_order : {true, false}) {
        const auto f = factor(h, n, damped(damp, act_order));
        ASSERT_TRUE(f.ok()) << f.status();
        EXPECT_EQ(f->ladder_steps, 0);
        EXPECT_EQ(f->damping, damp);
        EXPECT_LT(diagonal_error(*f, h, mean_of(*f)), 1e-4) << n << " " << damp;
      }
    }
  }
}

TEST(Factor, OrderIsDescendingAndStable) {
  Array h(16, 0.0f);
  const Array diagonal = {1, 3, 0, 3};
  for (size_t i = 0; i < 4; ++i) h[i * 5] = diagonal[i];
  const auto sorted = factor(h, 4, damped(0.05, true));
  ASSERT_TRUE(sorted.ok());
  EXPECT_THAT(sorted->order, ::testing::ElementsAre(1, 3, 0, 2));
  EXPECT_THAT(sorted->diagonal, ::testing::ElementsAreArray(diagonal));
  EXPECT_THAT(sorted->dead, ::testing::ElementsAre(0, 0, 1, 0));
  const auto natural = factor(h, 4, damped(0.05, false));
  ASSERT_TRUE(natural.ok());
  EXPECT_THAT(natural->order, ::testing::ElementsAre(0, 1, 2, 3));
}

TEST(Factor, DeadColumnsTouchNothing) {
  constexpr int64_t kCols = 96;
  Array x = samples::inputs(400, kCols, 5);
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % kCols % 7 == 3) x[i] = 0;
  }
  const Array h = samples::gram(x, kCols);
  const auto f = factor(h, kCols, {});
  ASSERT_TRUE(f.ok());
  EXPECT_EQ(f->ladder_steps, 0);
  EXPECT_LT(diagonal_error(*f, h, mean_of(*f)), 1e-4);
  const auto a = f->feedback.matrix<float>();
  for (int64_t i = 0; i < kCols; ++i) {
    const int32_t column = f->order[static_cast<size_t>(i)];
    EXPECT_EQ(f->dead[static_cast<size_t>(column)], column % 7 == 3);
    if (column % 7 != 3) continue;
    for (int64_t j = i + 1; j < kCols; ++j) EXPECT_EQ(a.row(j)[i], 0);
  }
  const Array nothing(64 * 64, 0.0f);  // all columns dead
  EXPECT_TRUE(factor(nothing, 64, {}).ok());
}

TEST(Factor, FewerTokensThanColumns) {
  constexpr int64_t kCols = 200;
  const Array h = samples::gram(samples::inputs(20, kCols, 8), kCols);
  const auto f = factor(h, kCols, damped(0.01));
  ASSERT_TRUE(f.ok()) << f.status();
  EXPECT_EQ(f->ladder_steps, 0);
  // Without damping the same matrix is singular: the ladder finds the first damping that works.
  const auto climbed = factor(h, kCols, damped(0.0));
  ASSERT_TRUE(climbed.ok());
  EXPECT_GE(climbed->ladder_steps, 1);
  EXPECT_GE(climbed->damping, 0.01);
}

TEST(Factor, LadderClimbsAsFarAsNeeded) {
  // Eigenvalues 1 + 0.3 and 1 - 1.3: needs more than 0.3 of the mean diagonal.
  const Array h = {1, 1.3f, 1.3f, 1};
  const auto f = factor(h, 2, damped(0.05));
  ASSERT_TRUE(f.ok());
  EXPECT_EQ(f->damping, 0.4);
  EXPECT_EQ(f->ladder_steps, 3);  // 0.05, 0.1, 0.2, then 0.4
  const Array hopeless = {1, 5, 5, 1};
  EXPECT_EQ(factor(hopeless, 2, {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Factor, RefusesWhatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0f}) {
    Array h = samples::hessian(150, 2);
    h[149 * 150 + 149] = bad;
    EXPECT_EQ(factor(h, 150, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  Array corner = samples::hessian(150, 2);
  corner[149] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(factor(corner, 150, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(factor(samples::hessian(8, 1), 8, damped(-1)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Factor, SameBitsForAnyNumberOfThreads) {
  constexpr int64_t kCols = 500;
  const Array h = samples::hessian(kCols, 3);
  const auto expected = factor(h, kCols, {}, 1);
  ASSERT_TRUE(expected.ok());
  for (const int threads : {2, 3, 4}) {
    const auto f = factor(h, kCols, {}, threads);
    ASSERT_TRUE(f.ok());
    for (int64_t i = 0; i < kCols; ++i) {
      const float* row = f->feedback.matrix<float>().row(i);
      EXPECT_TRUE(std::equal(row, row + kCols, expected->feedback.matrix<float>().row(i))) << threads;
    }
  }
}

double sum_of(const std::vector<double>& all) {
  return std::accumulate(all.begin(), all.end(), 0.0);
}

// What is left of H beside the factor is all of H: also after steps of the ladder.
TEST(Factor, KeepsTheHessianForItsError) {
  for (const int64_t n : {1, 31, 128, 129, 300}) {
    Array h = samples::hessian(n, 3);
    if (n > 1) h[1] = h[static_cast<size_t>(n)] = 2 * h[0];  // indefinite: the first damping fails
    const auto f = factor(h, n, damped(0.05));
    if (!f.ok()) continue;
    const Array e = samples::weights(5, n, 4);
    const double expected = samples::output_error(e, Array(e.size(), 0.0f), h, n);
    for (const int threads : {1, 3}) {
      device::ThreadPool pool(threads);
      EXPECT_NEAR(sum_of(hessian_errors(*f, samples::view(e, n), pool)), expected, 1e-5 * std::abs(expected)) << n;
    }
  }
  const auto climbed = factor({1, 1.3f, 1.3f, 1}, 2, damped(0.05));
  ASSERT_TRUE(climbed.ok());
  ASSERT_EQ(climbed->ladder_steps, 3);
  device::ThreadPool pool(2);
  const Array e = {1, 2};
  EXPECT_NEAR(sum_of(hessian_errors(*climbed, samples::view(e, 2), pool)), 1 + 4 + 2 * 2 * 1.3, 1e-6);
}

// Blocks of every raggedness; the diagonal and what is above it stay as they are.
TEST(Ldl, ReproducesTheMatrix) {
  for (const int64_t n : {1, 47, 48, 49, 95, 96, 97, 144, 260, 420}) {
    Array h = samples::hessian(n, 12);
    Array diagonal;
    for (int64_t i = 0; i < n; ++i) diagonal.push_back(h[static_cast<size_t>(i * n + i)] + 0.5f);
    Array w = h;
    device::ThreadPool pool(n % 2 == 0 ? 4 : 2);
    ASSERT_TRUE(factor_ldl(samples::matrix(w, n), diagonal, pool));
    std::vector<double> pivots(static_cast<size_t>(n));
    const auto at = [&](int64_t row, int64_t i) {  // of A^T
      return row == i ? 1.0 : static_cast<double>(w[static_cast<size_t>(row * n + i)]);
    };
    double worst = 0;
    for (int64_t i = n - 1; i >= 0; --i) {
      for (int64_t j = i; j >= 0; --j) {  // row i, columns to the left: products of all rows from i on
        const auto here = static_cast<size_t>(i * n + j);
        double rest = i == j ? diagonal[static_cast<size_t>(i)] : h[here];
        for (int64_t k = i + 1; k < n; ++k) rest -= pivots[static_cast<size_t>(k)] * at(k, i) * at(k, j);
        if (i == j) pivots[static_cast<size_t>(i)] = rest;
        if (i != j) worst = std::max(worst, std::abs(rest - pivots[static_cast<size_t>(i)] * at(i, j)));
        EXPECT_EQ(w[static_cast<size_t>(j * n + i)], h[static_cast<size_t>(j * n + i)]);
      }
    }
    EXPECT_LT(worst, 1e-5 * *std::ranges::max_element(diagonal)) << n;
  }
}

}  // namespace
}  // namespace gridquant::quant
