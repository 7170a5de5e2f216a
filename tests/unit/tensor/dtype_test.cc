// Conversions against plain definitions: every half and bf16 pattern, and the roundings around each of them.
#include "engine/tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace gridquant::tensor {
namespace {

double half_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double magnitude = 0;
  if (exponent == 31) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
  } else {
    magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(DType, NamesAndSizes) {
  EXPECT_EQ(size_of(DType::kBool), 1u);
  EXPECT_EQ(size_of(DType::kBF16), 2u);
  EXPECT_EQ(size_of(DType::kF32), 4u);
  EXPECT_EQ(size_of(DType::kF64), 8u);
  EXPECT_EQ(name_of(DType::kF8E4M3), "F8_E4M3");
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    const DType dtype = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(name_of(dtype)), dtype);
  }
  EXPECT_EQ(parse_dtype("f32"), std::nullopt);
}

TEST(DType, EveryHalfIsExact) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const F16 half{static_cast<uint16_t>(bits)};
    const double want = half_value(half.bits);
    const float got = to_float(half);
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(got)) << bits;
      EXPECT_EQ(to_f16(got).bits & 0x7e00, 0x7e00) << bits;
      continue;
    }
    EXPECT_EQ(got, want) << bits;
    EXPECT_EQ(std::signbit(got), std::signbit(want)) << bits;
    EXPECT_EQ(to_f16(got).bits, half.bits);
  }
}

TEST(DType, HalfRoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto low = static_cast<uint16_t>(bits);
    const auto high = static_cast<uint16_t>(bits + 1);
    // The step above the largest half is as if there were one more: values from its middle on become infinity.
    const double top = high == 0x7c00 ? 65536.0 : half_value(high);
    const auto middle = static_cast<float>((half_value(low) + top) / 2);
    const uint16_t even = (low & 1) == 0 ? low : high;
    EXPECT_EQ(to_f16(middle).bits, even) << bits;
    EXPECT_EQ(to_f16(std::nextafter(middle, 0.0f)).bits, low) << bits;
    EXPECT_EQ(to_f16(std::nextafter(middle, 1e9f)).bits, high) << bits;
  }
  EXPECT_EQ(to_f16(1e9f).bits, 0x7c00);
  EXPECT_EQ(to_f16(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
}

TEST(DType, Bf16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const float low = to_float(BF16{static_cast<uint16_t>(bits)});
    const uint32_t below = std::bit_cast<uint32_t>(low);
    EXPECT_EQ(to_bf16(low).bits, bits);
    EXPECT_EQ(to_bf16(std::bit_cast<float>(below + 0x7fff)).bits, bits);
    EXPECT_EQ(to_bf16(std::bit_cast<float>(below + 0x8000)).bits, bits + (bits & 1));
    EXPECT_EQ(to_bf16(std::bit_cast<float>(below + 0x8001)).bits, bits + 1);
  }
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(DType, SpansEqualSingleConversions) {
  std::vector<float> values;
  for (uint32_t i = 0; i < 70001; ++i) values.push_back(std::bit_cast<float>(i * 61357u));
  std::vector<BF16> bf16(values.size());
  std::vector<F16> f16(values.size());
  f32_to_bf16(values, bf16);
  f32_to_f16(values, f16);
  std::vector<float> from_bf16(values.size()), from_f16(values.size());
  bf16_to_f32(bf16, from_bf16);
  f16_to_f32(f16, from_f16);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(bf16[i].bits, to_bf16(values[i]).bits) << i;
    ASSERT_EQ(f16[i].bits, to_f16(values[i]).bits) << i;
    ASSERT_EQ(std::bit_cast<uint32_t>(from_bf16[i]), std::bit_cast<uint32_t>(to_float(bf16[i]))) << i;
    ASSERT_EQ(std::bit_cast<uint32_t>(from_f16[i]), std::bit_cast<uint32_t>(to_float(f16[i]))) << i;
  }
}

}  // namespace
}  // namespace gridquant::tensor
