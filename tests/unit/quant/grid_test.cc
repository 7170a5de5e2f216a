// The affine grid: dequantization and what a grid can hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/quant/solver.h"
#include "tests/unit/quant/samples.h"

namespace gridquant::quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Grid, DequantizesPerGroupWithSignedScales) {
  QuantizedWeight q;
  q.grid = {.bits = 4, .symmetric = true, .group_size = 2};
  q.rows = 2;
  q.cols = 4;
  q.codes = {0, 15, 8, 9, 7, 8, 1, 0};
  q.scales = {tensor::to_f16(0.5f), tensor::to_f16(-0.25f), tensor::to_f16(2.0f), tensor::to_f16(0.1f)};
  q.zeros = {8, 8, 8, 1};
  samples::Array out(8);
  q.dequantize(samples::matrix(out, 4));
  const float tenth = tensor::to_float(tensor::to_f16(0.1f));
  EXPECT_THAT(out, ElementsAre(-4.0f, 3.5f, -0.0f, -0.25f, -2.0f, 0.0f, 0.0f, -tenth));
}

TEST(Grid, GroupMinusOneIsTheRow) {
  const GridSpec grid{.bits = 3, .symmetric = false, .group_size = -1};
  EXPECT_EQ(grid.group_count(576), 1);
  EXPECT_EQ(grid.group_columns(576), 576);
  EXPECT_EQ(grid.max_code(), 7);
}

TEST(Grid, AcceptsWhatGptqCanPack) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const int64_t group : {32, 64, 128, -1}) {
      EXPECT_TRUE(check_grid({.bits = bits, .symmetric = true, .group_size = group}, 96, 256, "w").ok());
    }
  }
}

TEST(Grid, RefusesWithTheNumbersAndWhatWorks) {
  const Status group = check_grid({.bits = 4, .symmetric = true, .group_size = 128}, 576, 576, "layers.0.q_proj");
  EXPECT_EQ(group.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(group.message(), "layers.0.q_proj: width 576 has no group of 128; group sizes that work: 32, 64, -1");

  const Status bits = check_grid({.bits = 5, .symmetric = true, .group_size = 64}, 64, 64, "w");
  EXPECT_EQ(bits.message(), "w: no grid of 5 bits; bits that work: 2, 3, 4, 8");
  EXPECT_THAT(std::string(check_grid({.group_size = 32}, 64, 48, "w").message()), HasSubstr("width 48 is no multiple"));
  EXPECT_THAT(std::string(check_grid({.group_size = 32}, 33, 64, "w").message()), HasSubstr("height 33"));
  EXPECT_FALSE(check_grid({.group_size = 0}, 64, 64, "w").ok());
  EXPECT_FALSE(check_grid({.group_size = -32}, 64, 64, "w").ok());
  EXPECT_FALSE(check_grid({.group_size = 32}, 0, 64, "w").ok());
}

}  // namespace
}  // namespace gridquant::quant
