// `linear` from many threads at once, and what a packed weight says of itself.
#include "engine/ops/linear.h"

#include <gtest/gtest.h>

#include <random>
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
