// Owners of tensor memory. Not for reading or writing files (formats) and not for arithmetic (ops).
#include "engine/tensor/tensor.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace gridquant::tensor {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

Buffer::Buffer(size_t bytes)
    : data_(bytes == 0 ? nullptr : static_cast<std::byte*>(::operator new(bytes, kAlignment))), bytes_(bytes) {}

void Buffer::Free::operator()(std::byte* p) const {
  ::operator delete(p, kAlignment);
}

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), buffer_(static_cast<size_t>(element_count(shape_)) * size_of(dtype)) {}

Tensor to_f32(const Tensor& t) {
  Tensor out(DType::kF32, t.shape());
  switch (t.dtype()) {
    case DType::kF16:
      f16_to_f32(t.as<F16>(), out.as<float>());
      break;
    case DType::kBF16:
      bf16_to_f32(t.as<BF16>(), out.as<float>());
      break;
    default:
      assert(t.dtype() == DType::kF32);
      std::ranges::copy(t.raw(), out.raw().begin());
  }
  return out;
}

}  // namespace gridquant::tensor
