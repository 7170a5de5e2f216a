// Shapes, views and owners. A view never owns; a Tensor owns 64-byte-aligned memory. Row-major, dense.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor/dtype.h"

namespace gridquant::tensor {

using Shape = std::vector<int64_t>;

int64_t element_count(const Shape& shape);  // product; 1 for a scalar. Callers check for overflow first (formats do).
std::string to_string(const Shape& shape);  // "[2, 3]"

// A matrix of T with `stride` elements from one row to the next. Borrowed memory.
template <typename T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  T* row(int64_t r) const { return data + r * stride; }
  Matrix row_range(int64_t begin, int64_t count) const { return {data + begin * stride, count, cols, stride}; }
  operator Matrix<const T>() const { return {data, rows, cols, stride}; }
};

// Uninitialised, 64-byte aligned. Movable, not copyable. `memory`, where given, is what it comes from and goes back to,
// and must outlive it.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes, std::pmr::memory_resource* memory = nullptr);
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return bytes_; }

 private:
  struct Free {
    Free() : memory(nullptr), bytes(0) {}
    Free(std::pmr::memory_resource* from, size_t size) : memory(from), bytes(size) {}
    void operator()(std::byte* p) const;
    std::pmr::memory_resource* memory;
    size_t bytes;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape, std::pmr::memory_resource* memory = nullptr);  // uninitialised
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(size_t i) const { return shape_[i]; }
  int64_t count() const { return element_count(shape_); }
  size_t bytes() const { return buffer_.size(); }
  std::span<std::byte> raw() { return {buffer_.data(), buffer_.size()}; }
  std::span<const std::byte> raw() const { return {buffer_.data(), buffer_.size()}; }

  // T must be the C++ type of dtype() (BF16, F16, float, int32_t, ...): checked by size.
  template <typename T>
  std::span<T> as() {
    assert(sizeof(T) == size_of(dtype_));
    return {reinterpret_cast<T*>(buffer_.data()), static_cast<size_t>(count())};
  }
  template <typename T>
  std::span<const T> as() const {
    assert(sizeof(T) == size_of(dtype_));
    return {reinterpret_cast<const T*>(buffer_.data()), static_cast<size_t>(count())};
  }
  // The tensor as a matrix: the last dimension is the columns, the others are folded into rows.
  template <typename T>
  Matrix<T> matrix() {
    return {as<T>().data(), rows(), cols(), cols()};
  }
  template <typename T>
  Matrix<const T> matrix() const {
    return {as<T>().data(), rows(), cols(), cols()};
  }
  int64_t cols() const { return shape_.empty() ? 1 : shape_.back(); }
  int64_t rows() const { return cols() == 0 ? 0 : count() / cols(); }

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  Buffer buffer_;
};

// F32 copy of an F32, F16 or BF16 tensor. Precondition: dtype is one of them.
Tensor to_f32(const Tensor& t);

}  // namespace gridquant::tensor
