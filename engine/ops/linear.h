// Op `linear`: y = x W^T, through oneDNN. Approximate: fp32 accumulation in the library's order; for Compute::kBF16 the
// operands are rounded to bf16 first. The same bits for equal inputs on one machine, whatever the number of threads:
// each call is single-threaded and sees the whole of its rows. In fp32 a row's bits are the same among any other rows.
// Where the CPU has no bf16 product, Compute::kBF16 rounds the operands and multiplies in fp32.
#pragma once

#include <memory>

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// A weight [out, in] in the layout that the library multiplies fastest. Immutable, usable from any thread at once.
class LinearWeight {
 public:
  LinearWeight();
  ~LinearWeight();
  LinearWeight(LinearWeight&&) noexcept;
  LinearWeight& operator=(LinearWeight&&) noexcept;

  // `w` is [out, in] fp32 (rounded to bf16 inside for Compute::kBF16).
  static StatusOr<LinearWeight> pack(Compute compute, tensor::Matrix<const float> w);
  static StatusOr<LinearWeight> pack(Compute compute, tensor::Matrix<const tensor::BF16> w);

  Compute compute() const;
  int64_t out() const;
  int64_t in() const;
  size_t bytes() const;

  // y[rows, out] = x[rows, in] W^T, fp32 result. x.compute must equal compute(). Thread-safe.
  Status multiply(const Operand& x, tensor::Matrix<float> y) const;
  // y += x W^T: how a block's output meets the residual stream without another pass over memory.
  Status multiply_add(const Operand& x, tensor::Matrix<float> y) const;

 private:
  template <typename T>
  static StatusOr<LinearWeight> pack_any(Compute compute, tensor::Matrix<const T> w);
  Status apply(const Operand& x, tensor::Matrix<float> y, bool added) const;

  struct State;
  std::unique_ptr<State> state_;
};

// So many rows at a time are multiplied at full speed. No more than that where nobody needs all rows of a product, so
// that it stays in the cache.
constexpr int64_t kRowsAtFullSpeed = 128;

}  // namespace gridquant::ops
