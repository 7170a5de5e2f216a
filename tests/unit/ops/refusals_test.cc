// Shapes that do not fit are refused with a message that names the op, before anything is read or written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "engine/ops/add.h"
#include "engine/ops/attention.h"
#include "engine/ops/gelu_mul.h"
#include "engine/ops/gram.h"
#include "engine/ops/linear.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/rope.h"
#include "engine/ops/silu_mul.h"
#include "engine/ops/soft_cap.h"

namespace gridquant::ops {
namespace {

using tensor::Matrix;

void expect_refused(const Status& status, const char* op) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), testing::StartsWith(std::string(op) + ":"));
}

TEST(Refusals, Elementwise) {
  std::vector<float> memory(100);
  const Matrix<float> a{memory.data(), 2, 3, 3}, b{memory.data(), 2, 4, 4}, c{memory.data(), 3, 3, 3};
  const OperandBuffer out(Compute::kF32, 2, 3);
  expect_refused(rms_norm(b, std::vector<float>(4), 1e-5f, out.view()), "rms_norm");
  expect_refused(rms_norm(a, std::vector<float>(2), 1e-5f, out.view()), "rms_norm");
  expect_refused(silu_mul(a, c, out.view()), "silu_mul");
  expect_refused(silu_mul(b, b, out.view()), "silu_mul");
  expect_refused(gelu_mul(a, c, out.view()), "gelu_mul");
  expect_refused(gelu_mul(b, b, out.view()), "gelu_mul");
  expect_refused(soft_cap(0.0f, a), "soft_cap");
  expect_refused(add(a, b), "add");
  expect_refused(add(a, c), "add");
}

TEST(Refusals, RopeAndAttention) {
  std::vector<float> memory(200);
  const Matrix<float> x{memory.data(), 4, 8, 8};
  const OperandBuffer out(Compute::kF32, 8, 4), narrow(Compute::kF32, 4, 8);
  const std::vector<float> frequencies(2, 0.5f), many(3, 0.5f);
  const RopeTable table(frequencies, 3), wide(many, 4);
  expect_refused(rope(x, {4, 1}, &table, out.view()), "rope");  // four tokens, three positions
  expect_refused(rope(x, {4, 1}, &wide, out.view()), "rope");   // six elements of a head of four
  expect_refused(rope(x, {4, 3}, nullptr, out.view()), "rope");
  expect_refused(rope(x, {4, 1}, nullptr, narrow.view()), "rope");
  AttentionScratch scratch;
  const AttentionInput in{out.view(), out.view(), out.view()};
  expect_refused(attention({2, 1, 4, 1.0f}, in, narrow.view(), scratch), "attention");  // too many keys for one head
  expect_refused(attention({2, 2, 4, 1.0f, -1}, {out.view(), out.view(), out.view()}, narrow.view(), scratch),
                 "attention");
  expect_refused(attention({3, 2, 4, 1.0f}, in, narrow.view(), scratch), "attention");
}

TEST(Refusals, Products) {
  std::vector<float> memory(200);
  const OperandBuffer x(Compute::kF32, 4, 6), bf16(Compute::kBF16, 4, 5);
  device::ThreadPool pool(1);
  expect_refused(gram(x.view(), {{0, 5}}, pool, {memory.data(), 6, 6, 6}), "gram");
  expect_refused(gram(x.view(), {{-1, 2}}, pool, {memory.data(), 6, 6, 6}), "gram");
  expect_refused(gram(x.view(), {{0, 4}}, pool, {memory.data(), 6, 5, 5}), "gram");
  expect_refused(LinearWeight::pack(Compute::kF32, Matrix<const float>{memory.data(), 0, 5, 5}).status(), "linear");
  auto weight = LinearWeight::pack(Compute::kF32, Matrix<const float>{memory.data(), 3, 5, 5});
  ASSERT_TRUE(weight.ok());
  expect_refused(weight->multiply(x.view(), {memory.data(), 4, 3, 3}), "linear");
  expect_refused(weight->multiply(bf16.view(), {memory.data(), 4, 3, 3}), "linear");
  EXPECT_EQ(LinearWeight().multiply(x.view(), {memory.data(), 4, 3, 3}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Refusals, NoGroupsGiveZeros) {
  const OperandBuffer x(Compute::kF32, 4, 3);
  device::ThreadPool pool(1);
  std::vector<float> h(9, 5.0f);
  ASSERT_TRUE(gram(x.view(), {}, pool, {h.data(), 3, 3, 3}).ok());
  EXPECT_THAT(h, testing::Each(0.0f));
}

}  // namespace
}  // namespace gridquant::ops
