// Op `silu_mul`: out = gate / (1 + exp(-gate)) * up, elementwise: fp32 in, compute type out. Approximate: relative
// error of an element <= 1e-6 (fp32 out) or half a bf16 step and 3e-4 (bf16 out), or absolute error <= 1e-35 * |up|.
// Single-threaded; any thread.
#pragma once

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// All three have one shape; `out` may not overlap the inputs.
Status silu_mul(tensor::Matrix<const float> gate, tensor::Matrix<const float> up, const Operand& out);

}  // namespace gridquant::ops
