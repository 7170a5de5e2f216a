// The same codes on every kind of CPU: each instruction set that this build and this machine have gives the bits of the
// plainest one; where products are summed, of the plainest one with fused multiply-add.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/quant/solver.h"
#include "hwy/highway.h"
#include "tests/unit/quant/samples.h"

namespace gridquant::quant {
namespace {

using samples::Array;

class Targets : public ::testing::Test {
 protected:
  void TearDown() override { choose(0); }

  static void choose(int64_t targets) {  // 0: whatever the machine has
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }

  static std::vector<int64_t> all() {
    choose(0);
    std::vector<int64_t> targets;
    for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
      targets.push_back(rest & -rest);
    }
    return targets;
  }

  static std::vector<int64_t> fused() {
    std::vector<int64_t> targets = all();
    if (HWY_ARCH_X86) std::erase_if(targets, [](int64_t target) { return target > HWY_AVX2; });  // better: lower
    return targets;
  }

  template <typename Solve>
  static void expect_equal_on_all(const Solve& solve) {
    expect_equal(all(), solve);
  }

  template <typename Solve>
  static void expect_equal(const std::vector<int64_t>& targets, const Solve& solve) {
    if (targets.empty()) GTEST_SKIP() << "no instruction set to compare";
    choose(targets.back());  // the plainest: better targets have lower bits
    const SolveResult expected = solve();
    for (const int64_t target : targets) {
      choose(target);
      const SolveResult result = solve();
      const char* name = hwy::TargetName(target);
      EXPECT_EQ(result.weight.codes, expected.weight.codes) << name;
      EXPECT_EQ(result.weight.zeros, expected.weight.zeros) << name;
      for (size_t i = 0; i < result.weight.scales.size(); ++i) {
        ASSERT_EQ(result.weight.scales[i].bits, expected.weight.scales[i].bits) << name << " " << i;
      }
      EXPECT_EQ(result.weighted_error, expected.weighted_error) << name;
      EXPECT_EQ(result.weight_energy, expected.weight_energy) << name;
    }
  }
};

// Ordinary rows, rows of every magnitude, ties, one-sided rows, zeros.
Array hard_weights(int64_t rows, int64_t cols) {
  Array w = samples::weights(rows, cols, 31);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = w.data() + r * cols;
    for (int64_t c = 0; c < cols; ++c) {
      if (r % 5 == 1) row[c] = std::ldexp(row[c], static_cast<int>(r % 60) - 40);
      if (r % 5 == 2) row[c] = 0.125f * std::rint(40 * row[c]) + 0.0625f;
      if (r % 5 == 3) row[c] = r % 2 == 0 ? std::abs(row[c]) : -std::abs(row[c]);
      if (r % 35 == 4) row[c] = 0;
    }
  }
  return w;
}

TEST_F(Targets, RoundToNearest) {
  constexpr int64_t kRows = 150, kCols = 128;
  const Array w = hard_weights(kRows, kCols);
  Array diagonal(kCols);
  samples::Noise noise(2);
  for (float& h : diagonal) h = std::exp2(3 * noise.bell());
  device::ThreadPool pool(2);
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      for (const auto search : {ScaleSearch::kAbsMax, ScaleSearch::kWeighted}) {
        SolverOptions options;
        options.grid = {.bits = bits, .symmetric = symmetric, .group_size = 64};
        options.search = search;
        expect_equal_on_all([&] { return *solve_rtn(samples::view(w, kCols), diagonal, options, pool); });
      }
    }
  }
}

// From the Hessian to the codes, over several blocks.
TEST_F(Targets, Gptq) {
  constexpr int64_t kRows = 150, kCols = 352;
  const Array w = hard_weights(kRows, kCols);
  const Array h = samples::hessian(kCols, 32);
  device::ThreadPool pool(2);
  for (const int bits : {2, 3, 4, 8}) {
    SolverOptions options;
    options.grid = {.bits = bits, .symmetric = bits != 3, .group_size = 32};
    expect_equal(fused(), [&] {
      const SiteFactor f = *factor_site(samples::square_tensor(h, kCols), options, pool);
      SolveResult result = *solve_gptq(samples::view(w, kCols), f, options, pool);
      // What is compared besides: the error on the whole Hessian.
      Array errors = w;
      Array q(w.size());
      result.weight.dequantize(samples::matrix(q, kCols));
      for (size_t i = 0; i < q.size(); ++i) errors[i] -= q[i];
      for (const double e : hessian_errors(f, samples::view(errors, kCols), pool)) result.weight_energy += e;
      return result;
    });
  }
}

}  // namespace
}  // namespace gridquant::quant
