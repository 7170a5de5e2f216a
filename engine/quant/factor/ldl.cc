// Left-looking and blocked, from the last row to the first: row j of A^T is H's row j less its products with all rows
// after it, divided by what is left on the diagonal. A task finishes one block: block rows after its own are taken in,
// one by one, then its own diagonal block. Tasks are taken in an order in which each needs earlier ones only, and wait
// for exactly the blocks that they read: no barrier between block rows, and the next diagonal block, which everything
// waits for, is made while the rest of the row before it still is.
#include "engine/quant/factor/ldl.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "engine/quant/factor/ldl_kernels.h"

namespace gridquant::quant {
namespace {

struct Task {
  int64_t j, i;  // block row and column, i <= j
};

// Of one thread.
class Scratch {
 public:
  Scratch() : memory_((2 * kLdlPanels * kPanel + kPanel * kLdlPanels) * sizeof(float)) {}
  float* targets(int64_t panel) { return at(panel); }             // [kLdlBlock][kPanelLanes]
  float* errors(int64_t panel) { return at(kLdlPanels + panel); }  // [kLdlBlock][kPanelLanes]
  float* coefficients() { return at(2 * kLdlPanels); }            // [kLdlBlock][kLdlBlock]

 private:
  static constexpr size_t kPanel = static_cast<size_t>(kLdlBlock * kPanelLanes);
  float* at(int64_t panel) { return reinterpret_cast<float*>(memory_.data()) + panel * static_cast<int64_t>(kPanel); }
  tensor::Buffer memory_;
};

class Factorization {
 public:
  Factorization(tensor::Matrix<float> m, std::span<const float> diagonal, device::ThreadPool& pool)
      : m_(m),
        diagonal_(diagonal),
        pool_(pool),
        words_(static_cast<size_t>(1 + count() * count()) * sizeof(Word), pool.memory()),
        pivots_(static_cast<size_t>(m.rows) * sizeof(float), pool.memory()),
        scratch_(static_cast<size_t>(pool.threads())) {
    tasks_.push_back({count() - 1, count() - 1});
    for (int64_t j = count() - 1; j >= 0; --j) {
      for (int64_t i = j - 1; i >= 0; --i) {
        tasks_.push_back({j, i});
        if (i == j - 1) tasks_.push_back({i, i});
      }
    }
  }

  bool run() {
    pool_.parallel_for(1, [this](int64_t, int) {
      for (int64_t i = 0; i < 1 + count() * count(); ++i) new (words() + i) Word(0);
    });
    pool_.parallel_for(static_cast<int64_t>(tasks_.size()), [this](int64_t task, int thread) {
      auto& own = scratch_[static_cast<size_t>(thread)];
      if (!own) own = std::make_unique<Scratch>();
      const Task& t = tasks_[static_cast<size_t>(task)];
      finish_block(t, *own);
      pool_.publish(done(t.j, t.i), 1);
    });
    return indefinite() == 0;
  }

 private:
  using Word = std::atomic<uint32_t>;
  int64_t count() const { return (m_.rows + kLdlBlock - 1) / kLdlBlock; }
  int64_t begin(int64_t block) const { return block * kLdlBlock; }
  int64_t size(int64_t block) const { return std::min(kLdlBlock, m_.rows - begin(block)); }
  LdlRows rows(int64_t block, int64_t column) const {
    return {m_.row(begin(block)) + begin(column), m_.stride, size(block), size(column)};
  }
  float* pivots(int64_t block) { return reinterpret_cast<float*>(pivots_.data()) + begin(block); }
  Word* words() { return reinterpret_cast<Word*>(words_.data()); }
  Word& indefinite() { return words()[0]; }
  Word& done(int64_t j, int64_t i) { return words()[1 + j * count() + i]; }
  // The thread that has taken the block's task does not wait for this one: its task is an earlier one.
  void wait_for(int64_t j, int64_t i) { pool_.wait_while(done(j, i), 0); }

  void finish_block(const Task& t, Scratch& own) {
    const bool on_diagonal = t.j == t.i;
    const LdlRows rows_of_task = rows(t.j, t.i);
    const int64_t panels = (size(t.i) + kPanelLanes - 1) / kPanelLanes;
    for (int64_t p = 0; p < panels; ++p) pack_rows(rows_of_task, p, own.targets(p));
    if (on_diagonal) set_diagonal(t.j, own);
    for (int64_t later = count() - 1; later > t.j; --later) {
      wait_for(later, t.j);
      if (!on_diagonal) wait_for(later, t.i);
      if (indefinite() != 0) return;
      scale_rows(rows(later, t.j), pivots(later), own.coefficients());
      for (int64_t p = 0; p < panels; ++p) {
        pack_rows(rows(later, t.i), p, own.errors(p));
        // On the diagonal, what is right of it is not needed.
        const int64_t targets = size(t.j) - (on_diagonal ? p * kPanelLanes : 0);
        subtract_products(own.targets(p), targets, backwards(t.j, own), own.errors(p), size(later));
      }
    }
    if (on_diagonal) {
      float* panel[kLdlPanels] = {own.targets(0), own.targets(1)};
      if (indefinite() != 0 || !factor_diagonal(panel, size(t.j), pivots(t.j))) indefinite() = 1;
    } else {
      wait_for(t.j, t.j);
      if (indefinite() != 0) return;
      scale_rows(rows(t.j, t.j), pivots(t.j), own.coefficients());
      for (int64_t p = 0; p < panels; ++p) {
        solve_rows(own.targets(p), size(t.j), backwards(t.j, own), pivots(t.j));
      }
    }
    for (int64_t p = 0; p < panels; ++p) unpack_rows(own.targets(p), p, on_diagonal, rows_of_task);
  }

  // Targets are the rows of block j from its last one on; scale_rows has left their coefficients.
  Coefficients backwards(int64_t j, Scratch& own) const {
    return {own.coefficients() + size(j) - 1, -1, kLdlBlock};
  }

  void set_diagonal(int64_t j, Scratch& own) {
    for (int64_t r = 0; r < size(j); ++r) {
      own.targets(r / kPanelLanes)[(size(j) - 1 - r) * kPanelLanes + r % kPanelLanes] = diagonal_[begin(j) + r];
    }
  }

  tensor::Matrix<float> m_;
  std::span<const float> diagonal_;
  device::ThreadPool& pool_;
  std::vector<Task> tasks_;
  tensor::Buffer words_, pivots_;  // seen by all who work on it
  std::vector<std::unique_ptr<Scratch>> scratch_;
};

}  // namespace

bool factor_ldl(tensor::Matrix<float> m, std::span<const float> diagonal, device::ThreadPool& pool) {
  return m.rows == 0 || Factorization(m, diagonal, pool).run();
}

}  // namespace gridquant::quant
