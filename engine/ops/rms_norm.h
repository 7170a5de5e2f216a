// Op `rms_norm`: out[r, c] = (x[r, c] * s[r]) * weight[c] with s[r] = 1 / sqrt(mean(x[r]^2) + eps). Approximate:
// relative error of an element <= 1e-6 (fp32 out) or half a bf16 step (bf16 out). The mean is summed in fp32 over 16
// fixed lanes (element c goes to lane c mod 16), the lanes then in fp64. Single-threaded; any thread.
#pragma once

#include <span>

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

// `weight` has x.cols elements; `out` is [x.rows, x.cols]; it does not overlap x, or it is x itself (fp32 out).
Status rms_norm(tensor::Matrix<const float> x, std::span<const float> weight, float eps, const Operand& out);

}  // namespace gridquant::ops
