// A tensor read a few rows at a time, in its own type: an embedding of 1.5 GB gives the rows that are asked for, and a
// kept tensor goes from file to file in pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/base/status.h"
#include "engine/tensor/tensor.h"

namespace gridquant::formats {

// Thread-safe. Valid as long as the source that gave it.
class RowReader {
 public:
  RowReader(tensor::DType dtype, tensor::Shape shape) : dtype_(dtype), shape_(std::move(shape)) {}
  virtual ~RowReader() = default;
  tensor::DType dtype() const { return dtype_; }
  const tensor::Shape& shape() const { return shape_; }
  // The last dimension is the columns, the others are folded into rows; a vector is one row.
  int64_t cols() const { return shape_.empty() ? 1 : shape_.back(); }
  int64_t rows() const { return cols() == 0 ? 0 : tensor::element_count(shape_) / cols(); }
  size_t row_bytes() const { return static_cast<size_t>(cols()) * tensor::size_of(dtype_); }
  // Rows [begin, begin + count), all of them in range; `to` has exactly their bytes.
  virtual Status read(int64_t begin, int64_t count, std::span<std::byte> to) const = 0;

 private:
  tensor::DType dtype_;
  tensor::Shape shape_;
};

// Rows of a tensor that is in memory: for containers whose rows cannot be read alone.
std::unique_ptr<RowReader> rows_of(tensor::Tensor whole);

}  // namespace gridquant::formats
