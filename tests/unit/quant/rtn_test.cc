// Round to nearest against a plain scalar reference, bit for bit; hard groups; threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "engine/quant/solver.h"
#include "tests/unit/quant/samples.h"

namespace gridquant::quant {
namespace {

using samples::Array;
using samples::view;

SolverOptions options_for(int bits, bool symmetric, int64_t group, ScaleSearch search) {
  SolverOptions options;
  options.grid = {.bits = bits, .symmetric = symmetric, .group_size = group};
  options.search = search;
  return options;
}

// The range's scale and zero point, as a reader of the header would write it.
void absmax_reference(const float* w, int64_t cols, const GridSpec& grid, float* scale, int* zero) {
  float low = 0, high = 0;
  for (int64_t c = 0; c < cols; ++c) low = std::min(low, w[c]), high = std::max(high, w[c]);
  const auto codes = static_cast<float>(grid.max_code());
  const float range = grid.symmetric ? 2 * std::max(-low, high) : high - low;
  *scale = tensor::to_float(tensor::to_f16(range / codes));
  *zero = 1 << (grid.bits - 1);
  if (!grid.symmetric) *zero = static_cast<int>(std::clamp(std::rint(-low / *scale), 1.0f, codes));
}

class RtnGrids : public ::testing::TestWithParam<std::tuple<int, bool, int64_t>> {};

TEST_P(RtnGrids, AbsMaxEqualsScalarReference) {
  const auto [bits, symmetric, group] = GetParam();
  constexpr int64_t kRows = 101, kCols = 256;  // 101: a full tile and a ragged one
  const Array w = samples::weights(kRows, kCols, 7);
  device::ThreadPool pool(2);
  const auto options = options_for(bits, symmetric, group, ScaleSearch::kAbsMax);
  const auto result = solve_rtn(view(w, kCols), {}, options, pool);
  ASSERT_TRUE(result.ok()) << result.status();
  const QuantizedWeight& q = result->weight;
  const int64_t width = options.grid.group_columns(kCols);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t g = 0; g < q.groups(); ++g) {
      const float* from = w.data() + r * kCols + g * width;
      float scale = 0;
      int zero = 0;
      absmax_reference(from, width, options.grid, &scale, &zero);
      const auto at = static_cast<size_t>(r * q.groups() + g);
      ASSERT_EQ(tensor::to_float(q.scales[at]), scale) << r << " " << g;
      ASSERT_EQ(q.zeros[at], zero);
      for (int64_t c = 0; c < width; ++c) {
        const float code = std::clamp(std::rint(from[c] / scale) + static_cast<float>(zero), 0.0f,
                                      static_cast<float>(options.grid.max_code()));
        ASSERT_EQ(q.codes[static_cast<size_t>(r * kCols + g * width + c)], static_cast<int>(code));
      }
    }
  }
}

TEST_P(RtnGrids, SearchedScalesRoundToNearestAndLoseLess) {
  const auto [bits, symmetric, group] = GetParam();
  constexpr int64_t kRows = 40, kCols = 256;
  const Array w = samples::weights(kRows, kCols, 11);
  Array diagonal(kCols);
  samples::Noise noise(3);
  for (float& h : diagonal) h = std::exp2(2 * noise.bell());
  device::ThreadPool pool(2);
  const auto plain =
      solve_rtn(view(w, kCols), diagonal, options_for(bits, symmetric, group, ScaleSearch::kAbsMax), pool);
  const auto options = options_for(bits, symmetric, group, ScaleSearch::kWeighted);
  const auto result = solve_rtn(view(w, kCols), diagonal, options, pool);
  ASSERT_TRUE(plain.ok() && result.ok());
  EXPECT_LT(result->weighted_error, plain->weighted_error);
  const QuantizedWeight& q = result->weight;
  Array back(w.size());
  q.dequantize(samples::matrix(back, kCols));
  double error = 0, energy = 0;
  for (int64_t i = 0; i < kRows * kCols; ++i) {
    const auto at = static_cast<size_t>(i);
    const auto group_at = static_cast<size_t>(i / kCols * q.groups() + i % kCols / options.grid.group_columns(kCols));
    const float scale = tensor::to_float(q.scales[group_at]);
    const float code = std::clamp(std::rint(w[at] / scale) + static_cast<float>(q.zeros[group_at]), 0.0f,
                                  static_cast<float>(options.grid.max_code()));
    ASSERT_EQ(q.codes[at], static_cast<int>(code));
    ASSERT_GE(q.zeros[group_at], 1);
    if (symmetric) {
      ASSERT_EQ(q.zeros[group_at], 1 << (bits - 1));
    }
    const double h = diagonal[static_cast<size_t>(i % kCols)];
    error += h * std::pow(static_cast<double>(w[at]) - back[at], 2);
    energy += h * std::pow(static_cast<double>(w[at]), 2);
  }
  EXPECT_NEAR(result->weighted_error, error, 1e-4 * error);
  EXPECT_NEAR(result->weight_energy, energy, 1e-5 * energy);
}

INSTANTIATE_TEST_SUITE_P(All, RtnGrids,
                         ::testing::Combine(::testing::Values(2, 3, 4, 8), ::testing::Bool(),
                                            ::testing::Values(int64_t{32}, int64_t{64}, int64_t{-1})));

TEST(Rtn, RowsOfAGridAreRoundedAsTheSolverDoes) {
  constexpr int64_t kRows = 50, kCols = 192;
  const Array w = samples::weights(kRows, kCols, 9);
  device::ThreadPool pool(2);
  for (const bool symmetric : {true, false}) {
    const auto result =
        solve_rtn(view(w, kCols), {}, options_for(3, symmetric, 64, ScaleSearch::kWeighted), pool);
    ASSERT_TRUE(result.ok()) << result.status();
    Array expected(w.size()), row(kCols);
    result->weight.dequantize(samples::matrix(expected, kCols));
    for (int64_t r = 0; r < kRows; ++r) {
      result->weight.round_row(r, w.data() + r * kCols, row.data());
      for (int64_t c = 0; c < kCols; ++c) {
        ASSERT_EQ(row[static_cast<size_t>(c)], expected[static_cast<size_t>(r * kCols + c)]) << r << " " << c;
      }
    }
  }
}

TEST(Rtn, EitherSignOfTheScale) {
  // One-sided groups: the long side of the grid must lie on the side of the weights, whichever that is.
  constexpr int64_t kCols = 32;
  Array w(2 * kCols);
  for (int64_t c = 0; c < kCols; ++c) {
    w[static_cast<size_t>(c)] = 0.1f + 0.01f * static_cast<float>(c);
    w[static_cast<size_t>(kCols + c)] = -w[static_cast<size_t>(c)];
  }
  device::ThreadPool pool(1);
  const auto result = solve_rtn(view(w, kCols), {}, options_for(4, true, 32, ScaleSearch::kWeighted), pool);
  ASSERT_TRUE(result.ok());
  EXPECT_LT(tensor::to_float(result->weight.scales[0]), 0);
  EXPECT_GT(tensor::to_float(result->weight.scales[1]), 0);
  EXPECT_EQ(*std::min_element(result->weight.codes.begin(), result->weight.codes.begin() + kCols), 0);
}

TEST(Rtn, HardGroups) {
  constexpr int64_t kCols = 32;
  const Array values = {0.0f, 1e-30f, 1e-40f, -1e-7f, 3e-6f, 0.25f, -0.25f, 1e5f, -1e6f, 1e30f};
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      for (const auto search : {ScaleSearch::kAbsMax, ScaleSearch::kWeighted}) {
        Array w;  // constant rows, and the same with one outlier
        for (const float v : values) w.insert(w.end(), kCols, v);
        for (const float v : values) {
          w.insert(w.end(), kCols, v * 0.01f);
          w.back() = v;
        }
        device::ThreadPool pool(1);
        const auto result = solve_rtn(view(w, kCols), {}, options_for(bits, symmetric, 32, search), pool);
        ASSERT_TRUE(result.ok());
        Array back(w.size());
        result->weight.dequantize(samples::matrix(back, kCols));
        for (const tensor::F16 s : result->weight.scales) {
          ASSERT_TRUE(std::isfinite(tensor::to_float(s)));
          ASSERT_NE(tensor::to_float(s), 0.0f);
        }
        for (size_t i = 0; i < w.size(); ++i) {
          ASSERT_TRUE(std::isfinite(back[i]));
          ASSERT_TRUE(w[i] != 0 || back[i] == 0);
        }
        // A constant group that fp16 scales can reach loses no more than a rounding of its scale.
        for (const size_t row : {4u, 5u, 6u, 7u}) {
          const bool in_reach = bits > 2 && std::abs(values[row]) > 1e-4f && search == ScaleSearch::kWeighted;
          if (in_reach) {
            EXPECT_NEAR(back[row * kCols], values[row], 1e-3f * std::abs(values[row])) << bits << symmetric;
          }
        }
      }
    }
  }
}

TEST(Rtn, GroupOfZerosHasScaleOneAndZeroCodes) {
  const Array w(64, 0.0f);
  device::ThreadPool pool(1);
  for (const bool symmetric : {true, false}) {
    const auto result = solve_rtn(view(w, 32), {}, options_for(4, symmetric, 32, ScaleSearch::kWeighted), pool);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(tensor::to_float(result->weight.scales[0]), 1.0f);
    for (const uint8_t code : result->weight.codes) EXPECT_EQ(code, result->weight.zeros[0]);
    EXPECT_EQ(result->weighted_error, 0);
  }
}

TEST(Rtn, RefusesWhatIsNotFinite) {
  device::ThreadPool pool(2);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Array w = samples::weights(100, 64, 5);
    w[64 * 99 + 13] = bad;
    const auto result = solve_rtn(view(w, 64), {}, options_for(4, true, 32, ScaleSearch::kWeighted), pool);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  }
  const Array w = samples::weights(8, 64, 5);
  const Array short_diagonal(63, 1.0f);
  EXPECT_FALSE(solve_rtn(view(w, 64), short_diagonal, {}, pool).ok());
}

TEST(Rtn, ADiagonalOfZerosCountsAsOnes) {
  const Array w = samples::weights(16, 64, 5);
  const Array zeros(64, 0.0f);
  device::ThreadPool pool(1);
  const auto options = options_for(4, true, 32, ScaleSearch::kWeighted);
  const auto with = solve_rtn(view(w, 64), zeros, options, pool);
  const auto without = solve_rtn(view(w, 64), {}, options, pool);
  ASSERT_TRUE(with.ok() && without.ok());
  EXPECT_EQ(with->weight.codes, without->weight.codes);
}

TEST(Rtn, SameBitsForAnyNumberOfThreads) {
  constexpr int64_t kCols = 128;
  const Array w = samples::weights(500, kCols, 9);
  const auto options = options_for(4, false, 64, ScaleSearch::kWeighted);
  device::ThreadPool one(1);
  const auto expected = solve_rtn(view(w, kCols), {}, options, one);
  ASSERT_TRUE(expected.ok());
  for (const int threads : {2, 3, 4}) {
    device::ThreadPool pool(threads);
    const auto result = solve_rtn(view(w, kCols), {}, options, pool);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->weight.codes, expected->weight.codes);
    EXPECT_EQ(result->weight.zeros, expected->weight.zeros);
    EXPECT_EQ(result->weighted_error, expected->weighted_error);
  }
}

}  // namespace
}  // namespace gridquant::quant
