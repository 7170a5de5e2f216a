#include "engine/formats/gguf/blocks.h"

#include <cstring>

#include "engine/tensor/dtype.h"

namespace gridquant::formats {
namespace {

constexpr int kHalf = 16;    // elements of half a small block
constexpr int kRun = 128;    // elements of a super-block that share a run of bytes
constexpr int kSuper = 256;  // elements of a super-block

using Bytes = const uint8_t*;

float half_at(Bytes p) {
  return tensor::to_float(tensor::F16{static_cast<uint16_t>(p[0] | p[1] << 8)});
}

uint32_t word_at(Bytes p) {
  return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
}

// The low nibbles are the first half of a small block, the high ones the second.
void q4_0(Bytes p, float* to) {
  const float d = half_at(p);
  for (int i = 0; i < kHalf; ++i) {
    to[i] = static_cast<float>((p[2 + i] & 15) - 8) * d;
    to[i + kHalf] = static_cast<float>((p[2 + i] >> 4) - 8) * d;
  }
}

void q4_1(Bytes p, float* to) {
  const float d = half_at(p);
  const float m = half_at(p + 2);
  for (int i = 0; i < kHalf; ++i) {
    to[i] = static_cast<float>(p[4 + i] & 15) * d + m;
    to[i + kHalf] = static_cast<float>(p[4 + i] >> 4) * d + m;
  }
}

// Code of element i of a block with 5 bits: four in the nibbles, the fifth in bit i of `high`.
int code5(Bytes nibbles, uint32_t high, int i) {
  const int low = i < kHalf ? nibbles[i] & 15 : nibbles[i - kHalf] >> 4;
  return low | static_cast<int>(high >> i & 1) << 4;
}

void q5_0(Bytes p, float* to) {
  const float d = half_at(p);
  const uint32_t high = word_at(p + 2);
  for (int i = 0; i < 2 * kHalf; ++i) to[i] = static_cast<float>(code5(p + 6, high, i) - 16) * d;
}

void q5_1(Bytes p, float* to) {
  const float d = half_at(p);
  const float m = half_at(p + 2);
  const uint32_t high = word_at(p + 4);
  for (int i = 0; i < 2 * kHalf; ++i) to[i] = static_cast<float>(code5(p + 8, high, i)) * d + m;
}

void q8_0(Bytes p, float* to) {
  const float d = half_at(p);
  for (int i = 0; i < 2 * kHalf; ++i) to[i] = static_cast<float>(static_cast<int8_t>(p[2 + i])) * d;
}

// The two bits of element i, packed four runs of 32 elements to a byte.
int code2(Bytes qs, int i) {
  return qs[i / kRun * 32 + i % 32] >> (i % kRun / 32 * 2) & 3;
}

// scales[16], qs[64], d, dmin.
void q2_k(Bytes p, float* to) {
  const float d = half_at(p + 80);
  const float dmin = half_at(p + 82);
  for (int g = 0; g < kSuper / 16; ++g) {
    const float scale = d * static_cast<float>(p[g] & 15);
    const float low = dmin * static_cast<float>(p[g] >> 4);
    for (int i = g * 16; i < (g + 1) * 16; ++i) to[i] = scale * static_cast<float>(code2(p + 16, i)) - low;
  }
}

// hmask[32], qs[64], scales[12], d.
void q3_k(Bytes p, float* to) {
  const Bytes scales = p + 96;
  const float d = half_at(p + 108);
  for (int g = 0; g < kSuper / 16; ++g) {
    const int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    const int high = scales[8 + g % 4] >> (2 * (g / 4)) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    for (int i = g * 16; i < (g + 1) * 16; ++i) {
      const int absent = (p[i % 32] >> (i / 32) & 1) == 0 ? 4 : 0;
      to[i] = scale * static_cast<float>(code2(p + 32, i) - absent);
    }
  }
}

struct ScaleMin {
  float scale, low;
};

// Group g of the eight 6-bit scales and minima that Q4_K and Q5_K pack into 12 bytes.
ScaleMin scale_min(Bytes p, int g) {
  const float d = half_at(p);
  const float dmin = half_at(p + 2);
  const Bytes s = p + 4;
  int scale = s[g % 4] & 63;
  int low = s[g % 4 + 4] & 63;
  if (g >= 4) {
    scale = (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
    low = s[g + 4] >> 4 | s[g] >> 6 << 4;
  }
  return {d * static_cast<float>(scale), dmin * static_cast<float>(low)};
}

// d, dmin, scales[12], qs[128]: a run of 64 elements per 32 bytes.
void q4_k(Bytes p, float* to) {
  for (int g = 0; g < kSuper / 32; ++g) {
    const ScaleMin s = scale_min(p, g);
    const Bytes qs = p + 16 + g / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int code = g % 2 == 0 ? qs[i] & 15 : qs[i] >> 4;
      to[g * 32 + i] = s.scale * static_cast<float>(code) - s.low;
    }
  }
}

// d, dmin, scales[12], qh[32], qs[128].
void q5_k(Bytes p, float* to) {
  const Bytes high = p + 16;
  for (int g = 0; g < kSuper / 32; ++g) {
    const ScaleMin s = scale_min(p, g);
    const Bytes qs = p + 48 + g / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int code = (g % 2 == 0 ? qs[i] & 15 : qs[i] >> 4) | (high[i] >> g & 1) << 4;
      to[g * 32 + i] = s.scale * static_cast<float>(code) - s.low;
    }
  }
}

// ql[128], qh[64], scales[16] (signed), d.
void q6_k(Bytes p, float* to) {
  const float d = half_at(p + 208);
  for (int g = 0; g < kSuper / 16; ++g) {
    const float scale = d * static_cast<float>(static_cast<int8_t>(p[192 + g]));
    for (int i = g * 16; i < (g + 1) * 16; ++i) {
      const int run = i / kRun;
      const int quarter = i % kRun / 32;
      const int l = i % 32;
      const int byte = p[run * 64 + quarter % 2 * 32 + l];
      const int low = quarter < 2 ? byte & 15 : byte >> 4;
      const int high = p[128 + run * 32 + l] >> (2 * quarter) & 3;
      to[i] = scale * static_cast<float>((low | high << 4) - 32);
    }
  }
}

constexpr BlockLayout kLayouts[] = {
    {"F32", 0, 1, 4},       {"F16", 1, 1, 2},       {"BF16", 30, 1, 2},     {"Q4_0", 2, 32, 18},
    {"Q4_1", 3, 32, 20},    {"Q5_0", 6, 32, 22},    {"Q5_1", 7, 32, 24},    {"Q8_0", 8, 32, 34},
    {"Q2_K", 10, 256, 84},  {"Q3_K", 11, 256, 110}, {"Q4_K", 12, 256, 144}, {"Q5_K", 13, 256, 176},
    {"Q6_K", 14, 256, 210},
};

using Decode = void (*)(Bytes from, float* to);
constexpr Decode kDecoders[] = {nullptr, nullptr, nullptr, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k};

}  // namespace

const BlockLayout& layout_of(BlockType type) {
  return kLayouts[static_cast<size_t>(type)];
}

std::optional<BlockType> block_type_of(uint32_t ggml_id) {
  for (size_t i = 0; i < std::size(kLayouts); ++i) {
    if (kLayouts[i].ggml_id == ggml_id) return static_cast<BlockType>(i);
  }
  return std::nullopt;
}

void dequantize_blocks(BlockType type, std::span<const std::byte> from, std::span<float> to) {
  if (type == BlockType::kF32) {
    std::memcpy(to.data(), from.data(), to.size_bytes());
  } else if (type == BlockType::kF16) {
    tensor::f16_to_f32({reinterpret_cast<const tensor::F16*>(from.data()), to.size()}, to);
  } else if (type == BlockType::kBF16) {
    tensor::bf16_to_f32({reinterpret_cast<const tensor::BF16*>(from.data()), to.size()}, to);
  } else {
    const BlockLayout& layout = layout_of(type);
    const Decode decode = kDecoders[static_cast<size_t>(type)];
    const size_t blocks = to.size() / static_cast<size_t>(layout.elements);
    const Bytes bytes = reinterpret_cast<Bytes>(from.data());
    for (size_t b = 0; b < blocks; ++b) {
      decode(bytes + b * static_cast<size_t>(layout.bytes), to.data() + b * static_cast<size_t>(layout.elements));
    }
  }
}

}  // namespace gridquant::formats
