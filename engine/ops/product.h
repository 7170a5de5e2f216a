// Inside engine/ops only: one matrix product C = A B of a fixed shape on strided operands, through oneDNN, on the
// calling thread. The one place that knows whether this CPU has bf16 products: where it has none, bf16 operands are
// widened to fp32 and multiplied there. Not an op of its own: `linear`, `gram` and `attention` are made of it.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// True where the library multiplies bf16 by itself. It obeys DNNL_MAX_CPU_ISA, so tests can have a lesser CPU.
bool library_has_bf16_products();
// True where our own kernels may use AMX, which obeys the same.
bool has_amx_products();

// While alive, OpenMP (on which libdnnl is built) uses one thread on this thread: primitives are created for one
// thread and run on one, whoever calls.
class SingleThreaded {
 public:
  SingleThreaded();
  ~SingleThreaded();
  SingleThreaded(const SingleThreaded&) = delete;
  SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
  int before_;
};

// Memory that grows and is used again. One thread at a time.
class Workspace {
 public:
  // At least `bytes` bytes, 64-byte aligned, contents undefined; valid until the next call.
  std::byte* reserve(size_t bytes);

 private:
  tensor::Buffer buffer_;
};

// C [m, n] fp32 = A [m, k] B [k, n] (+ C). Strides in elements. A transposed operand is stored as [k, m] or [n, k], and
// its stride is that storage's.
struct ProductShape {
  int64_t m = 0, n = 0, k = 0;
  int64_t a_stride = 0, b_stride = 0, c_stride = 0;
  bool a_transposed = false, b_transposed = false;

  bool operator==(const ProductShape&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const ProductShape& s) {
    return H::combine(std::move(h), s.m, s.n, s.k, s.a_stride, s.b_stride, s.c_stride, s.a_transposed, s.b_transposed);
  }
};

class Product {
 public:
  static StatusOr<Product> create(Compute compute, const ProductShape& shape);
  Product();
  ~Product();
  Product(Product&&) noexcept;
  Product& operator=(Product&&) noexcept;

  // Thread-safe; `workspace` belongs to the calling thread.
  Status run(const std::byte* a, const std::byte* b, float* c, Workspace& workspace) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gridquant::ops
