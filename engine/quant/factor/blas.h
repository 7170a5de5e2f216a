// The BLAS and LAPACK calls of this folder, row-major, one thread per call. The only files that know these libraries
// are this header's body and nothing above it. Safe to call from several threads at once: the pthread build of
// OpenBLAS takes its work buffers under a lock, and with one thread per call it starts none.
#pragma once

#include <cstdint>
#include <string>

namespace gridquant::quant::blas {

// A block inside a row-major matrix: `ld` elements from one row to the next.
struct Block {
  float* data;
  int64_t ld;
};
struct ConstBlock {
  ConstBlock(const float* d, int64_t l) : data(d), ld(l) {}
  ConstBlock(Block b) : data(b.data), ld(b.ld) {}  // NOLINT: a Block is a ConstBlock
  const float* data;
  int64_t ld;
};
struct Dims {
  int64_t m, n, k;
};

void use_one_thread();  // idempotent; before the first product of a solve

void subtract_at_b(Dims dims, ConstBlock a, ConstBlock b, Block c);     // C[m,n] -= A[k,m]^T B[k,n]
void subtract_a_bt(Dims dims, ConstBlock a, ConstBlock b, Block c);     // C[m,n] -= A[m,k] B[n,k]^T
void subtract_a_at(int64_t n, int64_t k, ConstBlock a, Block c);        // lower(C[n,n]) -= A[n,k] A[n,k]^T
void solve_right_lower_t(int64_t m, int64_t n, ConstBlock l, Block b);  // B[m,n] = B L[n,n]^-T
bool cholesky_lower(int64_t n, Block a);                                // false: not positive definite

}  // namespace gridquant::quant::blas
