// Owners of tensor memory. Not for reading or writing files (formats) and not for arithmetic (ops).
#include "engine/tensor/tensor.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace gridquant::tensor {
namespace {

constexpr size_t kAlignment = 64;

// Aligned by hand: what glibc before 2.38 gives for an alignment beyond its own (memalign) is seldom used again after
// it was freed (its bug 14581), so that the heap grew with every block of a model. The address of the whole allocation
// stands before the first byte.
std::byte* allocate(size_t bytes, std::pmr::memory_resource* memory) {
  if (memory != nullptr) return static_cast<std::byte*>(memory->allocate(bytes, kAlignment));
  auto* whole = static_cast<std::byte*>(::operator new(bytes + kAlignment));
  std::byte* data = whole + kAlignment - reinterpret_cast<uintptr_t>(whole) % kAlignment;
  static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= sizeof(whole) &&
                kAlignment % __STDCPP_DEFAULT_NEW_ALIGNMENT__ == 0);
  std::memcpy(data - sizeof(whole), &whole, sizeof(whole));
  return data;
}

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

Buffer::Buffer(size_t bytes, std::pmr::memory_resource* memory)
    : data_(bytes == 0 ? nullptr : allocate(bytes, memory), Free(memory, bytes)), bytes_(bytes) {}

void Buffer::Free::operator()(std::byte* p) const {
  if (memory != nullptr) return memory->deallocate(p, bytes, kAlignment);
  std::byte* whole;
  std::memcpy(&whole, p - sizeof(whole), sizeof(whole));
  ::operator delete(whole);
}

Tensor::Tensor(DType dtype, Shape shape, std::pmr::memory_resource* memory)
    : dtype_(dtype),
      shape_(std::move(shape)),
      buffer_(static_cast<size_t>(element_count(shape_)) * size_of(dtype), memory) {}

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
