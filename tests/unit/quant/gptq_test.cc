// GPTQ against a plain fp64 reference; quality, hard inputs, threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "engine/quant/solver.h"
#include "tests/unit/quant/samples.h"

namespace gridquant::quant {
namespace {

using samples::Array;
using samples::view;

struct Case {
  Array w, h;
  int64_t rows, cols;
};

Case make_case(int64_t rows, int64_t cols) {
  return {samples::weights(rows, cols, 21), samples::hessian(cols, 22), rows, cols};
}

StatusOr<SiteFactor> factor(const Case& c, const SolverOptions& options, device::ThreadPool& pool) {
  return factor_site(samples::square_tensor(c.h, c.cols), options, pool);
}

SolverOptions in_groups_of(int64_t size) {
  SolverOptions options;
  options.grid.group_size = size;
  return options;
}

struct Solved {
  SiteFactor factor;
  SolveResult result;
};
StatusOr<Solved> solve(const Case& c, const SolverOptions& options) {
  device::ThreadPool pool(2);
  GQ_ASSIGN_OR_RETURN(SiteFactor f, factor(c, options, pool));
  GQ_ASSIGN_OR_RETURN(SolveResult result, solve_gptq(view(c.w, c.cols), f, options, pool));
  return Solved{std::move(f), std::move(result)};
}

Array dequantized(const QuantizedWeight& q) {
  Array out(static_cast<size_t>(q.rows * q.cols));
  q.dequantize(samples::matrix(out, q.cols));
  return out;
}

// U of H^-1 = U^T U for the damped Hessian in the factor's order, as Frantar et al. write GPTQ: by inverting H (which
// the solver never does) and Cholesky, in fp64.
std::vector<double> textbook_factor(const Case& c, const SiteFactor& f) {
  const int64_t n = c.cols;
  double mean = 0, live = 0;
  for (int64_t i = 0; i < n; ++i)
    mean += c.h[static_cast<size_t>(i * n + i)], live += f.dead[static_cast<size_t>(i)] ? 0 : 1;
  mean /= live;
  std::vector<double> a(static_cast<size_t>(n * n)), inverse(a.size(), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    inverse[static_cast<size_t>(i * n + i)] = 1;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t row = f.order[static_cast<size_t>(i)], col = f.order[static_cast<size_t>(j)];
      double value = c.h[static_cast<size_t>(row * n + col)];
      if (i == j) value = (f.dead[static_cast<size_t>(row)] ? mean : value) + f.damping * mean;
      a[static_cast<size_t>(i * n + j)] = value;
    }
  }
  for (int64_t k = 0; k < n; ++k) {  // Gauss and Jordan; a positive definite matrix needs no pivots
    const double pivot = 1 / a[static_cast<size_t>(k * n + k)];
    for (int64_t i = 0; i < n; ++i) {
      if (i == k) continue;
      const double share = a[static_cast<size_t>(i * n + k)] * pivot;
      for (int64_t j = 0; j < n; ++j) {
        a[static_cast<size_t>(i * n + j)] -= share * a[static_cast<size_t>(k * n + j)];
        inverse[static_cast<size_t>(i * n + j)] -= share * inverse[static_cast<size_t>(k * n + j)];
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      a[static_cast<size_t>(k * n + j)] *= pivot;
      inverse[static_cast<size_t>(k * n + j)] *= pivot;
    }
  }
  std::vector<double>& u = inverse;  // row by row: U_ii, then U_ij, then what is left of the rows below
  for (int64_t i = 0; i < n; ++i) {
    double* row = u.data() + i * n;
    const double root = std::sqrt(row[i]);
    for (int64_t j = i; j < n; ++j) row[j] /= root;
    for (int64_t k = i + 1; k < n; ++k) {
      for (int64_t j = k; j < n; ++j) u[static_cast<size_t>(k * n + j)] -= row[k] * row[j];
    }
  }
  return u;
}

// The textbook loop in fp64, one row at a time, on the result's own scales. Returns how many codes differ from `q`
// although the reference was not within `margin` (in levels) of a tie.
int64_t wrong_codes(const Case& c, const SiteFactor& f, const QuantizedWeight& q, double margin) {
  const std::vector<double> u = textbook_factor(c, f);
  int64_t wrong = 0;
  std::vector<double> row(static_cast<size_t>(c.cols));
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t p = 0; p < c.cols; ++p) {
      const auto column = static_cast<size_t>(f.order[static_cast<size_t>(p)]);
      row[static_cast<size_t>(p)] = f.dead[column] ? 0.0f : c.w[static_cast<size_t>(r * c.cols) + column];
    }
    for (int64_t p = 0; p < c.cols; ++p) {
      const int64_t column = f.order[static_cast<size_t>(p)];
      const auto group = static_cast<size_t>(r * q.groups() + column / q.grid.group_columns(c.cols));
      const double scale = tensor::to_float(q.scales[group]);
      const double zero = q.zeros[group];
      const double level = row[static_cast<size_t>(p)] / scale + zero;
      const double code = std::clamp(std::rint(level), 0.0, static_cast<double>(q.grid.max_code()));
      const int own = q.codes[static_cast<size_t>(r * c.cols + column)];
      // After a different choice at a near-tie the rows part ways: follow the solver's choice.
      if (own != static_cast<int>(code) && std::abs(std::abs(level - std::rint(level)) - 0.5) > margin) ++wrong;
      const double error =
          (row[static_cast<size_t>(p)] - scale * (own - zero)) / u[static_cast<size_t>(p * c.cols + p)];
      for (int64_t k = p + 1; k < c.cols; ++k)
        row[static_cast<size_t>(k)] -= error * u[static_cast<size_t>(p * c.cols + k)];
    }
  }
  return wrong;
}

class GptqGrids : public ::testing::TestWithParam<std::tuple<int, bool, bool>> {};

TEST_P(GptqGrids, CodesEqualTheReferenceExceptAtTies) {
  const auto [bits, symmetric, act_order] = GetParam();
  const Case c = make_case(100, 320);  // 100: a ragged tile; 320: two whole column blocks and a half
  SolverOptions options;
  options.grid = {.bits = bits, .symmetric = symmetric, .group_size = 64};
  options.act_order = act_order;
  const auto solved = solve(c, options);
  ASSERT_TRUE(solved.ok()) << solved.status();
  const QuantizedWeight& gptq = solved->result.weight;
  EXPECT_EQ(wrong_codes(c, solved->factor, gptq, bits == 8 ? 5e-3 : 1e-3), 0);

  device::ThreadPool pool(2);
  const auto rtn = solve_rtn(view(c.w, c.cols), solved->factor.diagonal, options, pool);
  ASSERT_TRUE(rtn.ok());
  const double gptq_error = samples::output_error(c.w, dequantized(gptq), c.h, c.cols);
  const double rtn_error = samples::output_error(c.w, dequantized(rtn->weight), c.h, c.cols);
  EXPECT_LT(gptq_error, 0.75 * rtn_error);
  // Static groups: the scales are chosen before any column is rounded, so both have the same.
  EXPECT_TRUE(std::ranges::equal(gptq.scales, rtn->weight.scales,
                                 [](tensor::F16 a, tensor::F16 b) { return a.bits == b.bits; }));
  EXPECT_EQ(gptq.zeros, rtn->weight.zeros);
}

INSTANTIATE_TEST_SUITE_P(All, GptqGrids,
                         ::testing::Combine(::testing::Values(2, 3, 4, 8), ::testing::Bool(), ::testing::Bool()));

TEST(Gptq, SmallAndOddWidths) {
  for (const int64_t cols : {1, 2, 127, 129}) {
    const Case c = make_case(3, cols);
    const auto solved = solve(c, in_groups_of(-1));
    ASSERT_TRUE(solved.ok()) << solved.status();
    EXPECT_EQ(wrong_codes(c, solved->factor, solved->result.weight, 1e-3), 0) << cols;
  }
}

TEST(Gptq, ReportsItsWeightedError) {
  const Case c = make_case(130, 128);
  const auto solved = solve(c, in_groups_of(32));
  ASSERT_TRUE(solved.ok()) << solved.status();
  const SolveResult& result = solved->result;
  Array diagonal_only(c.h.size(), 0.0f);
  for (int64_t i = 0; i < c.cols; ++i) {
    const auto at = static_cast<size_t>(i * c.cols + i);
    diagonal_only[at] = c.h[at];
  }
  const double error = samples::output_error(c.w, dequantized(result.weight), diagonal_only, c.cols);
  const double energy = samples::output_error(c.w, Array(c.w.size(), 0.0f), diagonal_only, c.cols);
  EXPECT_NEAR(result.weighted_error, error, 1e-4 * error);
  EXPECT_NEAR(result.weight_energy, energy, 1e-4 * energy);
}

TEST(Gptq, DeadColumnsBecomeZero) {
  Case c = make_case(40, 128);
  for (int64_t i = 0; i < c.cols; ++i) {
    c.h[static_cast<size_t>(5 * c.cols + i)] = c.h[static_cast<size_t>(i * c.cols + 5)] = 0;
  }
  const auto solved = solve(c, in_groups_of(32));
  ASSERT_TRUE(solved.ok()) << solved.status();
  ASSERT_EQ(solved->factor.dead[5], 1);
  const Array q = dequantized(solved->result.weight);
  for (int64_t r = 0; r < c.rows; ++r) EXPECT_EQ(q[static_cast<size_t>(r * c.cols + 5)], 0);
  EXPECT_EQ(wrong_codes(c, solved->factor, solved->result.weight, 1e-3), 0);
}

TEST(Gptq, FewerTokensThanColumns) {
  Case c = make_case(64, 256);
  c.h = samples::gram(samples::inputs(30, c.cols, 4), c.cols);
  const auto solved = solve(c, in_groups_of(64));
  ASSERT_TRUE(solved.ok()) << solved.status();
  device::ThreadPool pool(2);
  const auto rtn = solve_rtn(view(c.w, c.cols), solved->factor.diagonal, in_groups_of(64), pool);
  ASSERT_TRUE(rtn.ok());
  EXPECT_LT(samples::output_error(c.w, dequantized(solved->result.weight), c.h, c.cols),
            samples::output_error(c.w, dequantized(rtn->weight), c.h, c.cols));
}

TEST(Gptq, SameBitsForAnyNumberOfThreads) {
  const Case c = make_case(700, 256);
  const SolverOptions options = in_groups_of(64);
  device::ThreadPool one(1);
  const auto f = factor(c, options, one);
  ASSERT_TRUE(f.ok());
  const auto expected = solve_gptq(view(c.w, c.cols), *f, options, one);
  ASSERT_TRUE(expected.ok());
  for (const int threads : {2, 3, 4}) {
    device::ThreadPool pool(threads);
    const auto result = solve_gptq(view(c.w, c.cols), *f, options, pool);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->weight.codes, expected->weight.codes);
    EXPECT_EQ(result->weighted_error, expected->weighted_error);
    EXPECT_EQ(result->weight_energy, expected->weight_energy);
  }
}

TEST(Gptq, RefusesAFactorOfAnotherWidth) {
  const Case c = make_case(4, 64);
  device::ThreadPool pool(1);
  const auto f = factor(c, {}, pool);
  ASSERT_TRUE(f.ok());
  const Array w = samples::weights(4, 32, 1);
  EXPECT_EQ(solve_gptq(view(w, 32), *f, {}, pool).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Gptq, RefusesWeightsThatAreNotFinite) {
  Case c = make_case(4, 64);
  device::ThreadPool pool(1);
  const SolverOptions options = in_groups_of(32);
  const auto f = factor(c, options, pool);
  ASSERT_TRUE(f.ok());
  c.w[70] = INFINITY;
  EXPECT_EQ(solve_gptq(view(c.w, c.cols), *f, options, pool).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace gridquant::quant
