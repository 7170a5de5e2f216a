// The AVX512-BF16 kernel of ops/gram_tile.h: a step is a pair of rows, a register tile 8 x 48 sums.
#include <algorithm>

#include "engine/ops/gram_panels.h"

#if defined(__x86_64__)

#include <immintrin.h>

// g++ 12 takes the deliberately undefined operand inside some intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define GRIDQUANT_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace gridquant::ops {
namespace {

struct Bf16Kernel {
  using Element = uint32_t;  // a pair: the first row's bits low
  static constexpr int64_t kRowsPerStep = 2;
  static constexpr int64_t kVector = 16;
  static constexpr int64_t kStrip = 8;  // 8 x 3 accumulators of the 32 registers
  static constexpr int64_t kPanel = 48;
  static constexpr int64_t kChunkSteps = 128;  // a panel of 24 KiB

  static void pack(const Operand& x, uint32_t* to, int64_t panel_stride);
  template <int kFrom>
  GRIDQUANT_AVX512_BF16 static void multiply(const uint32_t* left, const uint32_t* right, int64_t steps, bool add,
                                             const tensor::Matrix<float>& sum);
};

constexpr int64_t kPanel = Bf16Kernel::kPanel;
constexpr int64_t kStrip = Bf16Kernel::kStrip;
constexpr int64_t kPackSteps = 4;  // packed at a time, so that whole cache lines of x are used while they are near

// One step of one panel, all of it inside x.
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
void pack_edge(const tensor::BF16* first, const tensor::BF16* second, int64_t columns, uint32_t* to) {
  for (int64_t c = 0; c < kPanel; ++c) {
    const uint32_t low = c < columns ? first[c].bits : 0;
    const uint32_t high = c < columns && second != nullptr ? second[c].bits : 0;
    to[c] = low | high << 16;
  }
}

GRIDQUANT_AVX512_BF16 void Bf16Kernel::pack(const Operand& operand, uint32_t* to, int64_t panel_stride) {
  const tensor::Matrix<tensor::BF16> x = operand.bf16();
  const int64_t steps = (x.rows + 1) / 2;
  for (int64_t block = 0; block < steps; block += kPackSteps) {
    const int64_t end = std::min(block + kPackSteps, steps);
    uint32_t* panel = to;
    for (int64_t c = 0; c < x.cols; c += kPanel, panel += panel_stride) {
      const int64_t columns = std::min(kPanel, x.cols - c);
      for (int64_t step = block; step < end; ++step) {
        const tensor::BF16* first = x.row(2 * step) + c;
        const tensor::BF16* second = 2 * step + 1 < x.rows ? x.row(2 * step + 1) + c : nullptr;
        if (columns == kPanel && second != nullptr) {
          pack_whole(first, second, panel + step * kPanel);
        } else {
          pack_edge(first, second, columns, panel + step * kPanel);
        }
      }
    }
  }
}

template <int kFrom>
void Bf16Kernel::multiply(const uint32_t* left, const uint32_t* right, int64_t steps, bool add,
                          const tensor::Matrix<float>& sum) {
  __m512 a[kStrip][3];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kStrip; ++i) {
#pragma GCC unroll 3
    for (int64_t v = kFrom; v < 3; ++v) a[i][v] = add ? _mm512_loadu_ps(sum.row(i) + v * kVector) : _mm512_setzero_ps();
  }
  for (int64_t step = 0; step < steps; ++step, left += kPanel, right += kPanel) {
    __m512bh b[3];
#pragma GCC unroll 3
    for (int64_t v = kFrom; v < 3; ++v) b[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + v * kVector));
#pragma GCC unroll 8
    for (int64_t i = 0; i < kStrip; ++i) {
      const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(left[i])));
#pragma GCC unroll 3
      for (int64_t v = kFrom; v < 3; ++v) a[i][v] = _mm512_dpbf16_ps(a[i][v], x, b[v]);
    }
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kStrip; ++i) {
#pragma GCC unroll 3
    for (int64_t v = kFrom; v < 3; ++v) _mm512_storeu_ps(sum.row(i) + v * kVector, a[i][v]);
  }
}

}  // namespace

void gram_tile_bf16(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace) {
  GramPanels<Bf16Kernel>::run(x, tile, sum, workspace);
}

}  // namespace gridquant::ops

#else

namespace gridquant::ops {

// Never chosen where the instruction cannot exist.
void gram_tile_bf16(const Operand&, const GramTile&, float*, Workspace&) {}

}  // namespace gridquant::ops

#endif
