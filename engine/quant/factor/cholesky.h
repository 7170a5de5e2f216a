// Cholesky factor of a large matrix on a pool: fixed blocks, each one a single-threaded library
// product of fixed shape, in fixed order. So the bits depend on the matrix and the library only, not on the threads.
#pragma once

#include "engine/device/thread_pool.h"
#include "engine/tensor/tensor.h"

namespace gridquant::quant {

// Reads and writes the lower triangle only: A = L L^T, L in A's place. False: not positive definite (A is spoilt).
bool cholesky_in_place(tensor::Matrix<float> a, device::ThreadPool& pool);

// Rows and columns [i * factor_block(), (i + 1) * factor_block()) are diagonal block i; the last may be smaller.
int64_t factor_block();

}  // namespace gridquant::quant
