// Left-looking blocked Cholesky and row-by-row blocked inverse: deep products (K up to the columns done so far), one or
// two barriers per block row, no copy of the matrix.
#include "engine/quant/factor/triangular.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "engine/quant/factor/blas.h"

namespace gridquant::quant {
namespace {

// A power of two near the depth at which products reach full rate; smaller leaves more parallel blocks. Part of the
// result's bits: change it only with the golden files.
constexpr int64_t kBlock = 128;

struct Blocks {
  tensor::Matrix<float> m;

  int64_t count() const { return (m.rows + kBlock - 1) / kBlock; }
  int64_t begin(int64_t i) const { return i * kBlock; }
  int64_t size(int64_t i) const { return std::min(kBlock, m.rows - begin(i)); }
  blas::Block at(int64_t i, int64_t j) const { return {m.row(begin(i)) + begin(j), m.stride}; }
};

// L^-1's block row `i`: X_ij = -X_ii (sum over k in [j, i) of L_ik X_kj). `row` holds a copy of L's block row.
void invert_block(const Blocks& b, int64_t i, int64_t j, const float* row) {
  const int64_t depth = b.begin(i) - b.begin(j);
  const blas::ConstBlock left(row + b.begin(j), b.begin(i));
  blas::multiply_a_b({b.size(i), b.size(j), depth}, left, b.at(j, j), b.at(i, j));
  blas::multiply_lower(b.size(i), b.size(j), b.at(i, i), b.at(i, j));
}

}  // namespace

int64_t factor_block() {
  return kBlock;
}

bool cholesky_in_place(tensor::Matrix<float> a, device::ThreadPool& pool) {
  const Blocks b{a};
  for (int64_t k = 0; k < b.count(); ++k) {
    const int64_t done = b.begin(k);
    if (done > 0) {
      pool.parallel_for(b.count() - k, [&](int64_t task, int) {
        const int64_t i = k + task;
        if (i == k) return blas::subtract_a_at(b.size(k), done, b.at(k, 0), b.at(k, k));
        blas::subtract_a_bt({b.size(i), b.size(k), done}, b.at(i, 0), b.at(k, 0), b.at(i, k));
      });
    }
    if (!blas::cholesky_lower(b.size(k), b.at(k, k))) return false;
    pool.parallel_for(b.count() - k - 1, [&](int64_t task, int) {
      const int64_t i = k + 1 + task;
      blas::solve_right_lower_t(b.size(i), b.size(k), b.at(k, k), b.at(i, k));
    });
  }
  return true;
}

bool invert_lower_in_place(tensor::Matrix<float> l, device::ThreadPool& pool) {
  const Blocks b{l};
  std::atomic<bool> singular{false};
  pool.parallel_for(b.count(), [&](int64_t i, int) {
    if (!blas::invert_lower(b.size(i), b.at(i, i))) singular = true;
    for (int64_t r = b.begin(i); r < b.begin(i) + b.size(i); ++r) {
      std::fill(l.row(r) + r + 1, l.row(r) + b.begin(i) + b.size(i), 0.0f);
    }
  });
  if (singular) return false;
  std::vector<float> row(static_cast<size_t>(kBlock * l.cols));
  for (int64_t i = 1; i < b.count(); ++i) {
    const int64_t width = b.begin(i);
    for (int64_t r = 0; r < b.size(i); ++r) {
      std::memcpy(row.data() + r * width, l.row(b.begin(i) + r), static_cast<size_t>(width) * sizeof(float));
    }
    pool.parallel_for(i, [&](int64_t j, int) { invert_block(b, i, j, row.data()); });
  }
  return true;
}

}  // namespace gridquant::quant
