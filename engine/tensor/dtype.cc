// Element types and exact conversions. Straight-line loops: the compiler vectorises them. Not for arithmetic.
#include "engine/tensor/dtype.h"

#include <array>
#include <cassert>
#include <cmath>

namespace gridquant::tensor {
namespace {

struct DTypeRow {
  std::string_view name;
  size_t size;
};

// In the order of the enumerators.
constexpr std::array<DTypeRow, 15> kRows = {{{"BOOL", 1},
                                             {"U8", 1},
                                             {"I8", 1},
                                             {"I16", 2},
                                             {"U16", 2},
                                             {"I32", 4},
                                             {"U32", 4},
                                             {"I64", 8},
                                             {"U64", 8},
                                             {"F8_E4M3", 1},
                                             {"F8_E5M2", 1},
                                             {"F16", 2},
                                             {"BF16", 2},
                                             {"F32", 4},
                                             {"F64", 8}}};
static_assert(static_cast<size_t>(DType::kF64) + 1 == kRows.size());

// Both half conversions let the FPU do the rounding and the subnormals (the method of Dukhan's FP16 library), so they
// are free of branches.
inline float half_to_float(uint16_t h) {
  const uint32_t w = static_cast<uint32_t>(h) << 16;
  const uint32_t sign = w & 0x80000000u;
  const uint32_t two_w = w + w;
  const float normal = std::bit_cast<float>((two_w >> 4) + (0xE0u << 23)) * 0x1.0p-112f;
  const float subnormal = std::bit_cast<float>((two_w >> 17) | (126u << 23)) - 0.5f;
  const uint32_t magnitude = two_w < (1u << 27) ? std::bit_cast<uint32_t>(subnormal) : std::bit_cast<uint32_t>(normal);
  return std::bit_cast<float>(sign | magnitude);
}

inline uint16_t float_to_half(float x) {
  const uint32_t w = std::bit_cast<uint32_t>(x);
  const uint32_t twice = w + w;
  const uint32_t sign = w & 0x80000000u;
  const float magnitude = std::bit_cast<float>(w & 0x7fffffffu);
  const float base = (magnitude * 0x1.0p+112f) * 0x1.0p-110f;  // overflows to infinity where half does
  uint32_t bias = twice & 0xFF000000u;
  bias = bias < 0x71000000u ? 0x71000000u : bias;
  const uint32_t bits = std::bit_cast<uint32_t>(std::bit_cast<float>((bias >> 1) + 0x07800000u) + base);
  const uint32_t rounded = ((bits >> 13) & 0x7C00u) + (bits & 0x0FFFu);
  return static_cast<uint16_t>((sign >> 16) | (twice > 0xFF000000u ? 0x7E00u : rounded));
}

}  // namespace

size_t size_of(DType dtype) {
  return kRows[static_cast<size_t>(dtype)].size;
}

std::string_view name_of(DType dtype) {
  return kRows[static_cast<size_t>(dtype)].name;
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

float to_float(F16 x) {
  return half_to_float(x.bits);
}

F16 to_f16(float x) {
  return {float_to_half(x)};
}

void bf16_to_f32(std::span<const BF16> from, std::span<float> to) {
  assert(from.size() == to.size());
  const BF16* __restrict in = from.data();
  float* __restrict out = to.data();
  for (size_t i = 0; i < from.size(); ++i) out[i] = to_float(in[i]);
}

void f32_to_bf16(std::span<const float> from, std::span<BF16> to) {
  assert(from.size() == to.size());
  const float* __restrict in = from.data();
  BF16* __restrict out = to.data();
  for (size_t i = 0; i < from.size(); ++i) {
    // to_bf16 with the branch as a selection, so that the loop vectorises.
    const uint32_t u = std::bit_cast<uint32_t>(in[i]);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x0040u;
    out[i].bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
}

void f16_to_f32(std::span<const F16> from, std::span<float> to) {
  assert(from.size() == to.size());
  const F16* __restrict in = from.data();
  float* __restrict out = to.data();
  for (size_t i = 0; i < from.size(); ++i) out[i] = half_to_float(in[i].bits);
}

void f32_to_f16(std::span<const float> from, std::span<F16> to) {
  assert(from.size() == to.size());
  const float* __restrict in = from.data();
  F16* __restrict out = to.data();
  for (size_t i = 0; i < from.size(); ++i) out[i].bits = float_to_half(in[i]);
}

}  // namespace gridquant::tensor
