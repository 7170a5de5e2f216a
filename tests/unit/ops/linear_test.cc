// `linear` from many threads at once, and what a packed weight says of itself.
#include "engine/ops/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>
#include <vector>

#include "engine/device/thread_pool.h"

namespace gridquant::ops {
namespace {

std::vector<float> random_values(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = normal(random);
  return values;
}

TEST(Linear, SameBitsFromManyThreads) {
  constexpr int64_t kOut = 150, kIn = 200, kMaxRows = 96;
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    const std::vector<float> w = random_values(kOut * kIn, 1);
    auto weight = LinearWeight::pack(compute, tensor::Matrix<const float>{w.data(), kOut, kIn, kIn});
    ASSERT_TRUE(weight.ok()) << weight.status();
    EXPECT_EQ(weight->compute(), compute);
    EXPECT_EQ(weight->out(), kOut);
    EXPECT_EQ(weight->in(), kIn);
    EXPECT_GE(weight->bytes(), static_cast<size_t>(kOut * kIn) * operand_size(compute));
    const OperandBuffer x(compute, kMaxRows, kIn);
    const std::vector<float> values = random_values(kMaxRows * kIn, 2);
    for (size_t i = 0; i < values.size(); ++i) {
      if (compute == Compute::kBF16) {
        x.view().bf16().data[i] = tensor::to_bf16(values[i]);
      } else {
        x.view().f32().data[i] = values[i];
      }
    }
    const auto product = [&](int64_t rows) {
      std::vector<float> y(static_cast<size_t>(rows * kOut));
      EXPECT_TRUE(weight->multiply(x.view().row_range(0, rows), {y.data(), rows, kOut, kOut}).ok());
      return y;
    };
    std::vector<std::vector<float>> alone;
    for (int64_t task = 0; task < 40; ++task) alone.push_back(product(1 + task * 13 % kMaxRows));
    device::ThreadPool pool(4);
    pool.parallel_for(40, [&](int64_t task, int) {
      EXPECT_EQ(product(1 + task * 13 % kMaxRows), alone[static_cast<size_t>(task)]) << task;
    });
  }
}

// What tasks of other sizes, ranks and leaves rest on.
TEST(Linear, ARowsBitsDependOnItsValuesAlone) {
  constexpr int64_t kOut = 83, kIn = 333, kRows = 300;
  const std::vector<float> w = random_values(kOut * kIn, 1);
  auto weight = LinearWeight::pack(Compute::kF32, tensor::Matrix<const float>{w.data(), kOut, kIn, kIn});
  ASSERT_TRUE(weight.ok()) << weight.status();
  const OperandBuffer x(Compute::kF32, kRows, kIn);
  std::ranges::copy(random_values(kRows * kIn, 2), x.view().f32().data);
  const std::vector<float> before = random_values(kRows * kOut, 3);
  std::vector<float> all(before.size()), all_added = before;
  ASSERT_TRUE(weight->multiply(x.view(), {all.data(), kRows, kOut, kOut}).ok());
  ASSERT_TRUE(weight->multiply_add(x.view(), {all_added.data(), kRows, kOut, kOut}).ok());
  for (const int64_t rows : {1, 2, 3, 5, 6, 7, 16, 31, 64, 97, 128, 255, 299}) {
    for (const int64_t begin : {int64_t{0}, kRows - rows}) {
      std::vector<float> y(static_cast<size_t>(rows * kOut));
      std::vector<float> added(before.begin() + begin * kOut, before.begin() + (begin + rows) * kOut);
      ASSERT_TRUE(weight->multiply(x.view().row_range(begin, rows), {y.data(), rows, kOut, kOut}).ok());
      ASSERT_TRUE(weight->multiply_add(x.view().row_range(begin, rows), {added.data(), rows, kOut, kOut}).ok());
      EXPECT_TRUE(std::ranges::equal(y, std::span(all).subspan(static_cast<size_t>(begin * kOut), y.size())))
          << rows << " rows from " << begin;
      EXPECT_TRUE(std::ranges::equal(added, std::span(all_added).subspan(static_cast<size_t>(begin * kOut), y.size())))
          << rows << " rows from " << begin;
    }
  }
}

TEST(Linear, StridedMatricesAndWhatLiesBetweenIsLeft) {
  constexpr int64_t kOut = 27, kIn = 41, kRows = 20, kGap = 5;
  const std::vector<float> w = random_values(kOut * kIn, 1);
  const std::vector<float> values = random_values(kRows * kIn, 2);
  const std::vector<float> before = random_values(kRows * (kOut + kGap), 3);
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    auto weight = LinearWeight::pack(compute, tensor::Matrix<const float>{w.data(), kOut, kIn, kIn});
    ASSERT_TRUE(weight.ok()) << weight.status();
    const OperandBuffer dense(compute, kRows, kIn), wide(compute, kRows, kIn + kGap);
    const Operand x{compute, wide.view().data, kRows, kIn, kIn + kGap};
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kIn; ++c) {
        const float value = values[static_cast<size_t>(r * kIn + c)];
        for (const Operand& to : {dense.view(), x}) {
          if (compute == Compute::kBF16) {
            to.bf16().row(r)[c] = tensor::to_bf16(value);
          } else {
            to.f32().row(r)[c] = value;
          }
        }
      }
    }
    std::vector<float> y(kRows * kOut), gaps = before;
    const tensor::Matrix<float> spread{gaps.data(), kRows, kOut, kOut + kGap};
    for (int64_t r = 0; r < kRows; ++r) std::copy_n(spread.row(r), kOut, y.data() + r * kOut);
    ASSERT_TRUE(weight->multiply_add(dense.view(), {y.data(), kRows, kOut, kOut}).ok());
    ASSERT_TRUE(weight->multiply_add(x, spread).ok());
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kOut + kGap; ++c) {
        const float want =
            c < kOut ? y[static_cast<size_t>(r * kOut + c)] : before[static_cast<size_t>(r * (kOut + kGap) + c)];
        EXPECT_NEAR(spread.row(r)[c], want, c < kOut ? 1e-4 : 0) << "row " << r << " column " << c;
      }
    }
  }
}

TEST(Linear, Bf16WeightsAreTakenAsTheyAre) {
  const std::vector<float> values = random_values(30 * 20, 3);
  std::vector<tensor::BF16> bf16(values.size());
  tensor::f32_to_bf16(values, bf16);
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    std::vector<float> rounded(values.size());
    tensor::bf16_to_f32(bf16, rounded);
    auto from_bf16 = LinearWeight::pack(compute, tensor::Matrix<const tensor::BF16>{bf16.data(), 30, 20, 20});
    auto from_f32 = LinearWeight::pack(compute, tensor::Matrix<const float>{rounded.data(), 30, 20, 20});
    ASSERT_TRUE(from_bf16.ok() && from_f32.ok());
    const OperandBuffer x(compute, 5, 20);
    for (int64_t i = 0; i < 100; ++i) {
      if (compute == Compute::kBF16) {
        x.view().bf16().data[i] = bf16[static_cast<size_t>(i)];
      } else {
        x.view().f32().data[i] = values[static_cast<size_t>(i)];
      }
    }
    std::vector<float> a(150), b(150);
    ASSERT_TRUE(from_bf16->multiply(x.view(), {a.data(), 5, 30, 30}).ok());
    ASSERT_TRUE(from_f32->multiply(x.view(), {b.data(), 5, 30, 30}).ok());
    EXPECT_EQ(a, b);
  }
}

}  // namespace
}  // namespace gridquant::ops
