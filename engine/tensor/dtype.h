// Element types, spelled as safetensors spells them, and the conversions between the floating ones.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace gridquant::tensor {

enum class DType : uint8_t {
  kBool,
  kU8,
  kI8,
  kI16,
  kU16,
  kI32,
  kU32,
  kI64,
  kU64,
  kF8E4M3,
  kF8E5M2,
  kF16,
  kBF16,
  kF32,
  kF64
};

size_t size_of(DType dtype);            // bytes of one element
std::string_view name_of(DType dtype);  // "F32", "BF16", "F8_E4M3", ...
std::optional<DType> parse_dtype(std::string_view name);

// Storage types: bit patterns, never arithmetic.
struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

inline float to_float(BF16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

// Round to nearest, ties to even; NaN stays NaN (quiet).
inline BF16 to_bf16(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x0040u)};
  u += 0x7fffu + ((u >> 16) & 1u);
  return {static_cast<uint16_t>(u >> 16)};
}

float to_float(F16 x);
F16 to_f16(float x);  // round to nearest, ties to even; overflow gives infinity

// Exact: the same bits on every machine. `to` and `from` have the same length and do not overlap.
void bf16_to_f32(std::span<const BF16> from, std::span<float> to);
void f32_to_bf16(std::span<const float> from, std::span<BF16> to);
void f16_to_f32(std::span<const F16> from, std::span<float> to);
void f32_to_f16(std::span<const float> from, std::span<F16> to);

}  // namespace gridquant::tensor
