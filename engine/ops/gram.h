// Op `gram`: H = sum over row groups of X_g^T X_g, symmetric [cols, cols] fp32: the Hessian of a layer's squared error
// up to a factor. Only the upper triangle is computed (half the work), then mirrored. Approximate: fp32 sums by kernels
// of ours (AMX, AVX512-BF16, else fp32 at any vector width).
//
// Bits: the row groups are fixed by the caller, each group's tile is summed by one thread, and the groups' tiles are
// added in a fixed binary tree over the group index. So the result does not depend on the number of threads, nor on how
// many ranks hold the groups.
#pragma once

#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/device/thread_pool.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

struct RowGroup {
  int64_t begin = 0;
  int64_t count = 0;
};

// InvalidArgument if a group is not inside x.
Status check_groups(const Operand& x, std::span<const RowGroup> groups);

// `out` is [x.cols, x.cols], overwritten.
Status gram(const Operand& x, const std::vector<RowGroup>& groups, device::ThreadPool& pool, tensor::Matrix<float> out);

}  // namespace gridquant::ops
