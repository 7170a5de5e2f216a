// Owners and views.
#include "engine/tensor/tensor.h"

#include <gtest/gtest.h>

#include <utility>

namespace gridquant::tensor {
namespace {

TEST(Tensor, ShapesAndMemory) {
  Tensor t(DType::kF32, {2, 3, 4});
  EXPECT_EQ(t.count(), 24);
  EXPECT_EQ(t.bytes(), 96u);
  EXPECT_EQ(t.rows(), 6);
  EXPECT_EQ(t.cols(), 4);
  EXPECT_EQ(to_string(t.shape()), "[2, 3, 4]");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw().data()) % 64, 0u);
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(to_string({}), "[]");
  const Tensor empty(DType::kF32, {0, 5});
  EXPECT_EQ(empty.count(), 0);
  EXPECT_EQ(empty.rows(), 0);
}

TEST(Tensor, MatrixViewsShareMemory) {
  Tensor t(DType::kI32, {3, 2});
  for (int i = 0; i < 6; ++i) t.as<int32_t>()[static_cast<size_t>(i)] = i;
  const Matrix<int32_t> m = t.matrix<int32_t>();
  EXPECT_EQ(m.row(1)[1], 3);
  EXPECT_EQ(m.row_range(2, 1).row(0)[0], 4);
  const Tensor moved = std::move(t);
  EXPECT_EQ(moved.as<int32_t>()[5], 5);
}

TEST(Tensor, ToF32) {
  Tensor bf16(DType::kBF16, {3});
  Tensor f16(DType::kF16, {3});
  const float values[] = {-1.5f, 0.0f, 1024.0f};
  for (size_t i = 0; i < 3; ++i) {
    bf16.as<BF16>()[i] = to_bf16(values[i]);
    f16.as<F16>()[i] = to_f16(values[i]);
  }
  const Tensor from_bf16 = to_f32(bf16), from_f16 = to_f32(f16), copy = to_f32(from_f16);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(from_bf16.as<float>()[i], values[i]);
    EXPECT_EQ(from_f16.as<float>()[i], values[i]);
    EXPECT_EQ(copy.as<float>()[i], values[i]);
  }
}

}  // namespace
}  // namespace gridquant::tensor
