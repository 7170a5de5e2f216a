// Op `add`: y += x in fp32; an x of one row is added to every row of y (a bias). Exact: one rounding per element.
// Single-threaded; any thread.
#pragma once

#include "engine/base/status.h"
#include "engine/ops/operand.h"

namespace gridquant::ops {

Status add(tensor::Matrix<const float> x, tensor::Matrix<float> y);

}  // namespace gridquant::ops
