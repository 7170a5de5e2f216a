// The AVX512-BF16 tile of ops/gram_bf16.h: rows of X are taken in chunks; a chunk's columns are packed into
// micro-panels of row pairs, 12 columns wide for the left operand and 32 for the right; a register tile of 12 x 32 sums
// is the inner loop.
#include "engine/ops/gram_bf16.h"

#include <algorithm>

#if defined(__x86_64__)

#include <immintrin.h>
#include <dnnl.hpp>

// g++ 12 takes the deliberately undefined operand inside some intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define GRIDQUANT_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace gridquant::ops {
namespace {

constexpr int64_t kStrip = 8;         // rows of a register tile: 8 x 3 accumulators of the 32 registers
constexpr int64_t kPanel = 48;        // its columns, and the columns of a packed panel
constexpr int64_t kChunkPairs = 128;  // row pairs at a time: a panel of 24 KiB stays in the L1 cache
constexpr int64_t kPackPairs = 4;     // row pairs packed at a time: whole cache lines of x are used while they are near
// Elements from one panel to the next; the odd line keeps panels out of each other's cache sets.
constexpr int64_t kPanelStride = kChunkPairs * kPanel + 16;

static_assert(kPanel % kStrip == 0, "a strip lies in one panel");

// One pair of rows of one panel, all of it inside x.
GRIDQUANT_AVX512_BF16 inline void pack_whole(const tensor::BF16* first, const tensor::BF16* second, uint32_t* to) {
  // 16-bit element i of the result: the first row's, then the second's (32 and above), in turn.
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                       5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  const __m512i a = _mm512_loadu_si512(first);
  const __m512i b = _mm512_loadu_si512(second);
  const __m512i a_rest = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + 32)));
  const __m512i b_rest = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(second + 32)));
  _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, low, b));
  _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi16(a, high, b));
  _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi16(a_rest, low, b_rest));
}

// The same at the edges of x: columns past the last and a missing second row (null) become zeros.
GRIDQUANT_AVX512_BF16 void pack_edge(const tensor::BF16* first, const tensor::BF16* second, int64_t columns,
                                     uint32_t* to) {
  for (int64_t c = 0; c < kPanel; ++c) {
    const uint32_t low = c < columns ? first[c].bits : 0;
    const uint32_t high = c < columns && second != nullptr ? second[c].bits : 0;
    to[c] = low | high << 16;
  }
}

// `x`, at most 2 * kChunkPairs rows, into panels [panel][pair][kPanel] of pairs.
GRIDQUANT_AVX512_BF16 void pack(const tensor::Matrix<const tensor::BF16>& x, uint32_t* to) {
  const int64_t pairs = (x.rows + 1) / 2;
  for (int64_t block = 0; block < pairs; block += kPackPairs) {
    const int64_t end = std::min(block + kPackPairs, pairs);
    uint32_t* panel = to;
    for (int64_t c = 0; c < x.cols; c += kPanel, panel += kPanelStride) {
      const int64_t columns = std::min(kPanel, x.cols - c);
      for (int64_t pair = block; pair < end; ++pair) {
        const tensor::BF16* first = x.row(2 * pair) + c;
        const tensor::BF16* second = 2 * pair + 1 < x.rows ? x.row(2 * pair + 1) + c : nullptr;
        if (columns == kPanel && second != nullptr) {
          pack_whole(first, second, panel + pair * kPanel);
        } else {
          pack_edge(first, second, columns, panel + pair * kPanel);
        }
      }
    }
  }
}

// sum[kStrip][kPanel] (rows `stride` apart) = or += left^T right over `pairs` row pairs.
GRIDQUANT_AVX512_BF16 void multiply(const uint32_t* left, const uint32_t* right, int64_t pairs, bool add, float* sum,
                                    int64_t stride) {
  __m512 a[kStrip][3];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kStrip; ++i) {
    a[i][0] = add ? _mm512_loadu_ps(sum + i * stride) : _mm512_setzero_ps();
    a[i][1] = add ? _mm512_loadu_ps(sum + i * stride + 16) : _mm512_setzero_ps();
    a[i][2] = add ? _mm512_loadu_ps(sum + i * stride + 32) : _mm512_setzero_ps();
  }
  for (int64_t pair = 0; pair < pairs; ++pair, left += kPanel, right += kPanel) {
    const auto b0 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right));
    const auto b1 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + 16));
    const auto b2 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + 32));
#pragma GCC unroll 8
    for (int64_t i = 0; i < kStrip; ++i) {
      const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(left[i])));
      a[i][0] = _mm512_dpbf16_ps(a[i][0], x, b0);
      a[i][1] = _mm512_dpbf16_ps(a[i][1], x, b1);
      a[i][2] = _mm512_dpbf16_ps(a[i][2], x, b2);
    }
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kStrip; ++i) {
    _mm512_storeu_ps(sum + i * stride, a[i][0]);
    _mm512_storeu_ps(sum + i * stride + 16, a[i][1]);
    _mm512_storeu_ps(sum + i * stride + 32, a[i][2]);
  }
}

// The same where fewer rows or columns are wanted.
GRIDQUANT_AVX512_BF16 void multiply_edge(const uint32_t* left, const uint32_t* right, int64_t pairs, bool add,
                                         const tensor::Matrix<float>& sum) {
  alignas(64) float whole[kStrip * kPanel] = {};
  for (int64_t r = 0; add && r < sum.rows; ++r) std::copy_n(sum.row(r), sum.cols, whole + r * kPanel);
  multiply(left, right, pairs, add, whole, kPanel);
  for (int64_t r = 0; r < sum.rows; ++r) std::copy_n(whole + r * kPanel, sum.cols, sum.row(r));
}

struct Packed {
  const uint32_t* left;
  const uint32_t* right;
  int64_t pairs;
};

// All register tiles of one chunk of rows.
void multiply_panels(const GramTile& tile, const Packed& p, bool add, float* sum) {
  for (int64_t j = 0; j < tile.cols; j += kPanel) {
    const uint32_t* right = p.right + j / kPanel * kPanelStride;
    const int64_t cols = std::min(kPanel, tile.cols - j);
    // On the diagonal, what lies wholly below it is left out.
    const int64_t end = tile.diagonal() ? std::min(tile.rows, j + kPanel) : tile.rows;
    for (int64_t i = 0; i < end; i += kStrip) {
      const uint32_t* left = p.left + i / kPanel * kPanelStride + i % kPanel;
      const int64_t rows = std::min(kStrip, tile.rows - i);
      float* to = sum + i * tile.cols + j;
      if (rows == kStrip && cols == kPanel) {
        multiply(left, right, p.pairs, add, to, tile.cols);
      } else {
        multiply_edge(left, right, p.pairs, add, {to, rows, cols, tile.cols});
      }
    }
  }
}

int64_t packed_size(int64_t columns) {
  return (columns + kPanel - 1) / kPanel * kPanelStride;
}

}  // namespace

bool has_gram_bf16_kernel() {
  return dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_bf16;
}

void gram_bf16_tile(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace) {
  const int64_t left_size = tile.diagonal() ? 0 : packed_size(tile.rows);
  const int64_t right_size = packed_size(tile.cols);
  auto* right =
      reinterpret_cast<uint32_t*>(workspace.reserve(static_cast<size_t>(left_size + right_size) * sizeof(uint32_t)));
  uint32_t* left = tile.diagonal() ? right : right + right_size;
  for (int64_t begin = 0; begin < x.rows; begin += 2 * kChunkPairs) {
    const int64_t count = std::min(2 * kChunkPairs, x.rows - begin);
    const tensor::BF16* rows = x.row_range(begin, count).bf16().data;
    pack({rows + tile.c0, count, tile.cols, x.stride}, right);
    if (!tile.diagonal()) pack({rows + tile.r0, count, tile.rows, x.stride}, left);
    multiply_panels(tile, {left, right, (count + 1) / 2}, begin > 0, sum);
  }
}

}  // namespace gridquant::ops

#else

namespace gridquant::ops {

bool has_gram_bf16_kernel() {
  return false;
}
void gram_bf16_tile(const Operand&, const GramTile&, float*, Workspace&) {}

}  // namespace gridquant::ops

#endif
