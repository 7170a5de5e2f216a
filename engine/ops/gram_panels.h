// Inside engine/ops only: the loops around the register tiles of the gram kernels. A Kernel gives
//   Element, kRowsPerStep    what one column of one step is packed into, and how many rows of x a step holds
//   kStrip, kPanel           rows and columns of a register tile; kStrip divides kPanel
//   kVector                  columns of a register, a third of kPanel
//   kChunkSteps              steps at a time: one packed panel should stay in the L1 cache
//   pack(x, to, stride)      the rows of x into panels [panel][step][kPanel], panels `stride` elements apart; columns
//                            past the last are zeros
//   multiply<from>(left, right, steps, add, sum)   sum[kStrip][kPanel] = or += left^T right, from that register on
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/ops/gram_tile.h"

namespace gridquant::ops {

template <typename Kernel>
class GramPanels {
 public:
  using Element = typename Kernel::Element;

  static void run(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace) {
    const int64_t left_size = tile.diagonal() ? 0 : packed_size(tile.rows);
    const int64_t right_size = packed_size(tile.cols);
    auto* right =
        reinterpret_cast<Element*>(workspace.reserve(static_cast<size_t>(left_size + right_size) * sizeof(Element)));
    Element* left = tile.diagonal() ? right : right + right_size;
    constexpr int64_t kChunkRows = Kernel::kChunkSteps * Kernel::kRowsPerStep;
    for (int64_t begin = 0; begin < x.rows; begin += kChunkRows) {
      const int64_t count = std::min(kChunkRows, x.rows - begin);
      Kernel::pack(columns(x.row_range(begin, count), tile.c0, tile.cols), right, kPanelStride);
      if (!tile.diagonal()) Kernel::pack(columns(x.row_range(begin, count), tile.r0, tile.rows), left, kPanelStride);
      const int64_t steps = (count + Kernel::kRowsPerStep - 1) / Kernel::kRowsPerStep;
      multiply_panels(tile, {left, right, steps, begin > 0}, sum);
    }
  }

 private:
  static constexpr int64_t kStrip = Kernel::kStrip;
  static constexpr int64_t kPanel = Kernel::kPanel;
  // The odd cache line keeps panels out of each other's cache sets.
  static constexpr int64_t kPanelStride = Kernel::kChunkSteps * kPanel + 64 / sizeof(Element);
  static_assert(kPanel % kStrip == 0, "a strip lies in one panel");
  static_assert(kPanel == 3 * Kernel::kVector);

  struct Packed {
    const Element* left;
    const Element* right;
    int64_t steps;
    bool add;
  };

  static int64_t packed_size(int64_t columns) { return (columns + kPanel - 1) / kPanel * kPanelStride; }

  static Operand columns(Operand x, int64_t begin, int64_t count) {
    x.data += static_cast<size_t>(begin) * operand_size(x.compute);
    x.cols = count;
    return x;
  }

  static void multiply_panels(const GramTile& tile, const Packed& p, float* sum) {
    for (int64_t j = 0; j < tile.cols; j += kPanel) {
      const Element* right = p.right + j / kPanel * kPanelStride;
      const int64_t cols = std::min(kPanel, tile.cols - j);
      // On the diagonal, what lies wholly below it is left out.
      const int64_t end = tile.diagonal() ? std::min(tile.rows, j + kPanel) : tile.rows;
      for (int64_t i = 0; i < end; i += kStrip) {
        const Packed strip{p.left + i / kPanel * kPanelStride + i % kPanel, right, p.steps, p.add};
        const int64_t rows = std::min(kStrip, tile.rows - i);
        float* to = sum + i * tile.cols + j;
        prefetch({to + kStrip * tile.cols, std::min(kStrip, tile.rows - i - kStrip), cols, tile.cols});
        if (rows == kStrip && cols == kPanel) {
          multiply_whole(tile.diagonal() && i > j ? (i - j) / Kernel::kVector : 0, strip, {to, rows, cols, tile.cols});
        } else {
          multiply_edge(strip, {to, rows, cols, tile.cols});
        }
      }
    }
  }

  // The sums that come next: there are too many of them for the caches near the core.
  static void prefetch(const tensor::Matrix<float>& sum) {
    constexpr int64_t kLine = 64 / sizeof(float);
    for (int64_t r = 0; r < sum.rows; ++r) {
      for (int64_t c = 0; c < sum.cols; c += kLine) __builtin_prefetch(sum.row(r) + c, 1);
    }
  }

  // The first `below` registers of each row lie below the diagonal.
  static void multiply_whole(int64_t below, const Packed& p, const tensor::Matrix<float>& sum) {
    if (below == 0) return Kernel::template multiply<0>(p.left, p.right, p.steps, p.add, sum);
    if (below == 1) return Kernel::template multiply<1>(p.left, p.right, p.steps, p.add, sum);
    Kernel::template multiply<2>(p.left, p.right, p.steps, p.add, sum);
  }

  // A register tile of which fewer rows or columns are wanted.
  static void multiply_edge(const Packed& p, const tensor::Matrix<float>& sum) {
    alignas(64) float whole[kStrip * kPanel] = {};
    for (int64_t r = 0; p.add && r < sum.rows; ++r) std::copy_n(sum.row(r), sum.cols, whole + r * kPanel);
    Kernel::template multiply<0>(p.left, p.right, p.steps, p.add, {whole, kStrip, kPanel, kPanel});
    for (int64_t r = 0; r < sum.rows; ++r) std::copy_n(whole + r * kPanel, sum.cols, sum.row(r));
  }
};

}  // namespace gridquant::ops
