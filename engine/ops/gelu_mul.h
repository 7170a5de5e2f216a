// Op `gelu_mul`: out = gelu(gate) * up, elementwise: fp32 in, compute type out, with the tanh form of GELU (Hendrycks
// and Gimpel 2016, arXiv:1606.08415): gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))). Approximate:
// relative error of an element <= 2e-6 (fp32 out) or half a bf16 step (bf16 out), or absolute error <= 1e-35 * |up|,
// where the argument of tanh is above -10; below it, where gelu is under 1e-7 of its argument, absolute error <= 1e-12
// * |up|. Single-threaded; any thread.
#pragma once

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// All three have one shape; `out` may not overlap the inputs.
Status gelu_mul(tensor::Matrix<const float> gate, tensor::Matrix<const float> up, const Operand& out);

}  // namespace gridquant::ops
