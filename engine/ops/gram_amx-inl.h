// Inside engine/ops only: the kernel of ops/gram_tile.h on tiles (ops/amx_tiles.h, or emulated ones in tests): a step
// is 32 rows of x, a register tile 32 x 32 sums (four of the eight tiles; two hold columns of the left operand, two of
// the right). The left operand's rows are runs of the summed index, the right one's are pairs of it. So the right
// panels are x with its rows in pairs, and the left ones the same blocks transposed. Packing needs AVX-512BW.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "engine/ops/gram_tile.h"

// g++ 12 takes the deliberately undefined operand inside some intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define GRIDQUANT_AMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

namespace gridquant::ops::gram_amx {

constexpr int64_t kColumns = 16;      // of a tile, and of a panel
constexpr int64_t kRowsPerStep = 32;  // pairs of rows: 16
constexpr int64_t kTileWords = 256;   // 16 x 16 pairs, 1 KiB
constexpr int64_t kTileBytes = 64;    // of a tile's row
constexpr int64_t kChunkSteps = 8;    // two panels of each side, 32 KiB, stay in the L1 cache
constexpr int64_t kChunkRows = kChunkSteps * kRowsPerStep;
constexpr int64_t kPanelStride = kChunkSteps * kTileWords + 16;  // the odd cache line: away from the same cache sets
constexpr int64_t kBlock = 2 * kColumns;                         // edge of a register tile

inline int64_t panels_of(int64_t columns) {
  return (columns + kColumns - 1) / kColumns;
}

// Rows and columns of x past its end count as zeros.
struct Block16 {
  __m512i pairs[16];  // [pair of rows][column]: the first row's bits low
};

GRIDQUANT_AMX inline void load_block(const tensor::Matrix<tensor::BF16>& x, int64_t row, int64_t column, Block16& b) {
  const auto mask = static_cast<__mmask16>((1u << std::min(kColumns, x.cols - column)) - 1u);
  const auto load = [&](int64_t r) GRIDQUANT_AMX {
    if (r >= x.rows) return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x.row(r) + column));
  };
#pragma GCC unroll 16
  for (int64_t p = 0; p < 16; ++p) {
    b.pairs[p] = _mm512_or_si512(load(row + 2 * p), _mm512_slli_epi32(load(row + 2 * p + 1), 16));
  }
}

GRIDQUANT_AMX inline void store_block(const Block16& b, uint32_t* to) {
#pragma GCC unroll 16
  for (int64_t p = 0; p < 16; ++p) _mm512_storeu_si512(to + p * 16, b.pairs[p]);
}

// [pair][column] to [column][pair].
GRIDQUANT_AMX inline void transpose(Block16& b) {
  __m512i s[4][4];  // [four pairs][c]: lane l holds column 4 l + c of the four pairs
#pragma GCC unroll 4
  for (int64_t g = 0; g < 4; ++g) {
    const __m512i* r = b.pairs + 4 * g;
    const __m512i low01 = _mm512_unpacklo_epi32(r[0], r[1]), high01 = _mm512_unpackhi_epi32(r[0], r[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(r[2], r[3]), high23 = _mm512_unpackhi_epi32(r[2], r[3]);
    s[g][0] = _mm512_unpacklo_epi64(low01, low23);
    s[g][1] = _mm512_unpackhi_epi64(low01, low23);
    s[g][2] = _mm512_unpacklo_epi64(high01, high23);
    s[g][3] = _mm512_unpackhi_epi64(high01, high23);
  }
#pragma GCC unroll 4
  for (int64_t c = 0; c < 4; ++c) {
    const __m512i first_low = _mm512_shuffle_i32x4(s[0][c], s[1][c], 0x44);
    const __m512i first_high = _mm512_shuffle_i32x4(s[2][c], s[3][c], 0x44);
    const __m512i last_low = _mm512_shuffle_i32x4(s[0][c], s[1][c], 0xee);
    const __m512i last_high = _mm512_shuffle_i32x4(s[2][c], s[3][c], 0xee);
    b.pairs[c] = _mm512_shuffle_i32x4(first_low, first_high, 0x88);
    b.pairs[4 + c] = _mm512_shuffle_i32x4(first_low, first_high, 0xdd);
    b.pairs[8 + c] = _mm512_shuffle_i32x4(last_low, last_high, 0x88);
    b.pairs[12 + c] = _mm512_shuffle_i32x4(last_low, last_high, 0xdd);
  }
}

// Columns [begin, begin + count) of x into panels for the side or sides that are wanted (null: not).
GRIDQUANT_AMX inline void pack(tensor::Matrix<tensor::BF16> x, int64_t begin, int64_t count, uint32_t* left,
                               uint32_t* right) {
  x.data += begin;
  x.cols = count;
  Block16 b;
  for (int64_t step = 0; step * kRowsPerStep < x.rows; ++step) {
    for (int64_t panel = 0; panel < panels_of(count); ++panel) {
      const int64_t at = panel * kPanelStride + step * kTileWords;
      load_block(x, step * kRowsPerStep, panel * kColumns, b);
      if (right != nullptr) store_block(b, right + at);
      if (left == nullptr) continue;
      transpose(b);
      store_block(b, left + at);
    }
  }
}

struct Panels {
  const uint32_t* left[2];
  const uint32_t* right[2];
};

// sum [32, 32] = or += left^T right over `steps` steps. `stride` in bytes.
template <class Tiles>
GRIDQUANT_AMX inline void multiply(const Panels& p, int64_t steps, bool add, float* sum, int64_t stride) {
  float* lower = reinterpret_cast<float*>(reinterpret_cast<char*>(sum) + 16 * stride);
  if (add) {
    Tiles::template load<0>(sum, stride);
    Tiles::template load<1>(sum + 16, stride);
    Tiles::template load<2>(lower, stride);
    Tiles::template load<3>(lower + 16, stride);
  } else {
    Tiles::template zero<0>();
    Tiles::template zero<1>();
    Tiles::template zero<2>();
    Tiles::template zero<3>();
  }
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t at = step * kTileWords;
    Tiles::template load<4>(p.left[0] + at, kTileBytes);
    Tiles::template load<6>(p.right[0] + at, kTileBytes);
    Tiles::template load<7>(p.right[1] + at, kTileBytes);
    Tiles::template load<5>(p.left[1] + at, kTileBytes);
    Tiles::template multiply_add<0, 4, 6>();
    Tiles::template multiply_add<1, 4, 7>();
    Tiles::template multiply_add<2, 5, 6>();
    Tiles::template multiply_add<3, 5, 7>();
  }
  Tiles::template store<0>(sum, stride);
  Tiles::template store<1>(sum + 16, stride);
  Tiles::template store<2>(lower, stride);
  Tiles::template store<3>(lower + 16, stride);
}

// A register tile of which fewer rows or columns are wanted.
template <class Tiles>
GRIDQUANT_AMX void multiply_edge(const Panels& p, int64_t steps, bool add, const tensor::Matrix<float>& sum) {
  alignas(64) float whole[kBlock * kBlock] = {};
  for (int64_t r = 0; add && r < sum.rows; ++r) std::copy_n(sum.row(r), sum.cols, whole + r * kBlock);
  multiply<Tiles>(p, steps, add, whole, kBlock * static_cast<int64_t>(sizeof(float)));
  for (int64_t r = 0; r < sum.rows; ++r) std::copy_n(whole + r * kBlock, sum.cols, sum.row(r));
}

// Two neighbours; the last panel beside itself where there is no other: what that gives is not wanted.
inline void pair_of(const uint32_t* panels, int64_t panel, int64_t count, const uint32_t* (&pair)[2]) {
  pair[0] = panels + panel * kPanelStride;
  pair[1] = panels + std::min(panel + 1, count - 1) * kPanelStride;
}

template <class Tiles>
GRIDQUANT_AMX void multiply_panels(const GramTile& tile, const uint32_t* left, const uint32_t* right, int64_t steps,
                                   bool add, float* sum) {
  const int64_t stride = tile.cols * static_cast<int64_t>(sizeof(float));
  Panels p;
  for (int64_t j = 0; j < tile.cols; j += kBlock) {
    pair_of(right, j / kColumns, panels_of(tile.cols), p.right);
    const int64_t cols = std::min(kBlock, tile.cols - j);
    const int64_t end = tile.diagonal() ? std::min(tile.rows, j + kBlock) : tile.rows;
    for (int64_t i = 0; i < end; i += kBlock) {
      pair_of(left, i / kColumns, panels_of(tile.rows), p.left);
      const int64_t rows = std::min(kBlock, tile.rows - i);
      float* to = sum + i * tile.cols + j;
      if (rows == kBlock && cols == kBlock) {
        multiply<Tiles>(p, steps, add, to, stride);
      } else {
        multiply_edge<Tiles>(p, steps, add, {to, rows, cols, tile.cols});
      }
    }
  }
}

// One tile of the triangle, as gram_tile_amx.
template <class Tiles>
GRIDQUANT_AMX void run(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace) {
  const int64_t left_size = panels_of(tile.rows) * kPanelStride;
  const int64_t right_size = panels_of(tile.cols) * kPanelStride;
  auto* left =
      reinterpret_cast<uint32_t*>(workspace.reserve(static_cast<size_t>(left_size + right_size) * sizeof(uint32_t)));
  uint32_t* right = left + left_size;
  const typename Tiles::Scope scope;
  for (int64_t begin = 0; begin < x.rows; begin += kChunkRows) {
    const int64_t count = std::min(kChunkRows, x.rows - begin);
    const tensor::Matrix<tensor::BF16> rows = x.row_range(begin, count).bf16();
    pack(rows, tile.c0, tile.cols, tile.diagonal() ? left : nullptr, right);
    if (!tile.diagonal()) pack(rows, tile.r0, tile.rows, left, nullptr);
    multiply_panels<Tiles>(tile, left, right, (count + kRowsPerStep - 1) / kRowsPerStep, begin > 0, sum);
  }
}

}  // namespace gridquant::ops::gram_amx

#undef GRIDQUANT_AMX

#endif
