// Left-looking blocked Cholesky. A task finishes one block: it receives the products of all block columns before its
// own in one deep product, then its diagonal block's share. Tasks are taken in an order in which each needs earlier
// ones only, and wait for exactly the blocks that they read: no barrier between block columns, and the next diagonal
// block, which everything waits for, is made while the rest of the column before it still is.
#include "engine/quant/factor/cholesky.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <vector>

#include "engine/quant/factor/blas.h"

namespace gridquant::quant {
namespace {

// A power of two near the depth at which products reach full rate; smaller leaves more parallel blocks. Part of the
// result's bits: change it only with the golden files.
constexpr int64_t kBlock = 128;

struct Task {
  int64_t i, k;  // block row and column, k <= i
};

class Cholesky {
 public:
  Cholesky(tensor::Matrix<float> m, device::ThreadPool& pool)
      : m_(m), pool_(pool), words_(static_cast<size_t>(1 + count() * count()) * sizeof(Word), pool.memory()) {
    tasks_.push_back({0, 0});
    for (int64_t k = 0; k < count(); ++k) {
      for (int64_t i = k + 1; i < count(); ++i) {
        tasks_.push_back({i, k});
        if (i == k + 1) tasks_.push_back({i, i});
      }
    }
  }

  bool run() {
    pool_.parallel_for(1, [this](int64_t, int) {
      for (int64_t i = 0; i < 1 + count() * count(); ++i) new (words() + i) Word(0);
    });
    pool_.parallel_for(static_cast<int64_t>(tasks_.size()), [this](int64_t task, int) {
      const Task& t = tasks_[static_cast<size_t>(task)];
      finish_block(t);
      pool_.publish(done_of(t.i, t.k), 1);
    });
    return indefinite() == 0;
  }

 private:
  int64_t count() const { return (m_.rows + kBlock - 1) / kBlock; }
  int64_t begin(int64_t i) const { return i * kBlock; }
  int64_t size(int64_t i) const { return std::min(kBlock, m_.rows - begin(i)); }
  blas::Block at(int64_t i, int64_t j) const { return {m_.row(begin(i)) + begin(j), m_.stride}; }

  using Word = std::atomic<uint32_t>;
  Word* words() { return reinterpret_cast<Word*>(words_.data()); }
  Word& indefinite() { return words()[0]; }
  Word& done_of(int64_t i, int64_t k) { return words()[1 + i * count() + k]; }  // block row, block column
  // The thread that has taken the block's task does not wait for this one: its task is an earlier one.
  void wait_for(int64_t i, int64_t k) { pool_.wait_while(done_of(i, k), 0); }

  void finish_block(const Task& t) {
    // The block before is the last of its row to be done.
    if (t.k > 0) wait_for(t.i, t.k - 1);
    if (t.i == t.k) {
      if (t.k > 0) blas::subtract_a_at(size(t.k), begin(t.k), at(t.k, 0), at(t.k, t.k));
      if (indefinite() != 0 || !blas::cholesky_lower(size(t.k), at(t.k, t.k))) indefinite() = 1;
      return;
    }
    if (t.k > 0) {
      wait_for(t.k, t.k - 1);
      blas::subtract_a_bt({size(t.i), size(t.k), begin(t.k)}, at(t.i, 0), at(t.k, 0), at(t.i, t.k));
    }
    wait_for(t.k, t.k);
    if (indefinite() == 0) blas::solve_right_lower_t(size(t.i), size(t.k), at(t.k, t.k), at(t.i, t.k));
  }

  tensor::Matrix<float> m_;
  device::ThreadPool& pool_;
  std::vector<Task> tasks_;
  tensor::Buffer words_;
};

}  // namespace

int64_t factor_block() {
  return kBlock;
}

bool cholesky_in_place(tensor::Matrix<float> a, device::ThreadPool& pool) {
  return a.rows == 0 || Cholesky(a, pool).run();
}

}  // namespace gridquant::quant
