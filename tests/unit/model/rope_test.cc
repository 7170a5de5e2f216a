// Rotary frequencies where they can be said in one line; the rest is compared with transformers in tests/interop.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/model/rope_frequencies.h"

namespace gridquant::model {
namespace {

TEST(RopeFrequencies, Plain) {
  RopeConfig rope;
  rope.theta = 16.0;
  EXPECT_EQ(rope_frequencies(rope, 4, 10), (std::vector<float>{1.0f, 0.25f}));
  rope.rotated_share = 0.5;
  EXPECT_EQ(rope_frequencies(rope, 8, 10), (std::vector<float>{1.0f, 0.25f}));
  EXPECT_EQ(rotated_elements(rope, 8), 4);
}

TEST(RopeFrequencies, LinearDividesEveryOne) {
  RopeConfig rope{16.0, 1.0, RopeScaling::kLinear, 2.0};
  EXPECT_EQ(rope_frequencies(rope, 4, 10), (std::vector<float>{0.5f, 0.125f}));
}

TEST(RopeFrequencies, DynamicBeginsBeyondTheFirstTraining) {
  RopeConfig rope{16.0, 1.0, RopeScaling::kDynamic, 2.0, 100};
  EXPECT_EQ(rope_frequencies(rope, 4, 100), (std::vector<float>{1.0f, 0.25f}));
  // theta * (2 * 150 / 100 - 1)^(4 / 2) = 16 * 4
  EXPECT_EQ(rope_frequencies(rope, 4, 150), (std::vector<float>{1.0f, 0.125f}));
  EXPECT_EQ(rope_regime(rope, 3), rope_regime(rope, 100));
  EXPECT_NE(rope_regime(rope, 100), rope_regime(rope, 101));
  EXPECT_NE(rope_regime(rope, 101), rope_regime(rope, 102));
}

TEST(RopeFrequencies, LongRopeChoosesByLength) {
  RopeConfig rope{16.0, 1.0, RopeScaling::kLongRope, 1.0, 100};
  rope.short_factors = {1.0f, 2.0f};
  rope.long_factors = {4.0f, 8.0f};
  EXPECT_EQ(rope_frequencies(rope, 4, 100), (std::vector<float>{1.0f, 0.125f}));
  EXPECT_EQ(rope_frequencies(rope, 4, 101), (std::vector<float>{0.25f, 1.0f / 32}));
  EXPECT_NE(rope_regime(rope, 100), rope_regime(rope, 101));
  EXPECT_EQ(rope_regime(rope, 101), rope_regime(rope, 500));
}

TEST(RopeFrequencies, Llama3KeepsFastAndSlowsSlowPairs) {
  RopeConfig rope{1e6, 1.0, RopeScaling::kLlama3, 8.0, 64};
  const std::vector<float> plain = rope_frequencies(RopeConfig{1e6}, 8, 10), scaled = rope_frequencies(rope, 8, 10);
  EXPECT_EQ(scaled[0], plain[0]);  // a wavelength of 6.3 positions
  EXPECT_FLOAT_EQ(scaled[3], plain[3] / 8);
  EXPECT_EQ(rope_regime(rope, 10), rope_regime(rope, 100));
}

}  // namespace
}  // namespace gridquant::model
