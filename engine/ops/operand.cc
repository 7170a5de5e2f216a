// Memory of product operands. Nothing numeric here.
#include "engine/ops/operand.h"

namespace gridquant::ops {

OperandBuffer::OperandBuffer(Compute compute, int64_t rows, int64_t cols)
    : buffer_(static_cast<size_t>(rows * cols) * operand_size(compute)),
      view_{compute, buffer_.data(), rows, cols, cols} {}

}  // namespace gridquant::ops
