// The AMX kernel of gram on emulated tiles: its panels and edges, on any CPU with AVX-512.
#include "engine/ops/gram_amx-inl.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/unit/ops/emulated_tiles.h"

namespace gridquant::ops {
namespace {

#if defined(__x86_64__)

constexpr float kUntouched = 7.0f;

// What the kernel must have written: all of a tile, but for what lies below the diagonal of one on it.
void expect_sums(const OperandBuffer& x, const GramTile& tile, const std::vector<float>& sums) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    for (int64_t c = tile.diagonal() ? r : 0; c < tile.cols; ++c) {
      double sum = 0, magnitudes = 0;
      for (int64_t row = 0; row < x.view().rows; ++row) {
        const tensor::BF16* values = x.view().bf16().row(row);
        const double term = static_cast<double>(tensor::to_float(values[tile.r0 + r])) *
                            static_cast<double>(tensor::to_float(values[tile.c0 + c]));
        sum += term;
        magnitudes += std::fabs(term);
      }
      ASSERT_NEAR(sums[static_cast<size_t>(r * tile.cols + c)], sum, 1e-6 * magnitudes)
          << "tile " << tile.rows << " x " << tile.cols << ", " << r << ", " << c;
    }
  }
}

TEST(GramAmx, EqualsTheSum) {
  if (!__builtin_cpu_supports("avx512bw")) GTEST_SKIP() << "packing needs AVX-512BW";
  constexpr int64_t kColumns = 150;
  for (const int64_t rows : {1, 32, 255, 300}) {
    const OperandBuffer x(Compute::kBF16, rows, kColumns);
    std::mt19937 random(static_cast<uint32_t>(rows));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < rows * kColumns; ++i) x.view().bf16().data[i] = tensor::to_bf16(normal(random));
    Workspace workspace;
    for (const GramTile& tile : {GramTile{0, 96, 0, 96}, GramTile{0, 150, 0, 150}, GramTile{3, 45, 3, 45},
                                 GramTile{0, 32, 64, 64}, GramTile{5, 50, 61, 89}, GramTile{96, 54, 0, 17}}) {
      std::vector<float> sums(static_cast<size_t>(tile.rows * tile.cols), kUntouched);
      gram_amx::run<EmulatedTiles>(x.view(), tile, sums.data(), workspace);
      expect_sums(x, tile, sums);
    }
  }
}

#endif

}  // namespace
}  // namespace gridquant::ops
