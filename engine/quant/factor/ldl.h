// H = A D A^T of a large matrix on a pool, A unit upper triangular, D diagonal. Not here: damping, columns' order.
#pragma once

#include <span>

#include "engine/device/thread_pool.h"
#include "engine/tensor/tensor.h"

namespace gridquant::quant {

// Reads H below its diagonal, and its diagonal from `diagonal`; leaves A^T in place of the former and touches nothing
// else. False: not positive definite (what is below the diagonal is spoilt). The same bits for any number of threads;
// with fused multiply-add, on every machine.
bool factor_ldl(tensor::Matrix<float> m, std::span<const float> diagonal, device::ThreadPool& pool);

}  // namespace gridquant::quant
