// Op `soft_cap`: x = cap * tanh(x / cap) in place, fp32 (the logits of Gemma 2). Approximate: relative error <= 2e-6.
// Single-threaded; any thread.
#pragma once

#include "engine/base/status.h"
#include "engine/tensor/tensor.h"

namespace gridquant::ops {

// `cap` is positive.
Status soft_cap(float cap, tensor::Matrix<float> x);

}  // namespace gridquant::ops
