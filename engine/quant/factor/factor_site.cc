// What GPTQ needs of a site's Hessian. Neither H^-1 nor its factor is formed: with the columns in reversed order,
// H_rev = L L^T, and A of H = A D A^T is L with its columns divided by their diagonal, read backwards (rows and columns
// reversed). One factorization, 1/3 n^3. All of it in the Hessian's own memory: L needs one triangle, and H, being
// symmetric, keeps the other.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/quant/factor/blas.h"
#include "engine/quant/factor/cholesky.h"
#include "engine/quant/solver.h"

namespace gridquant::quant {
namespace {

constexpr int64_t kRowsPerTask = 64;
constexpr double kFirstRaise = 0.01;  // what a damping of zero is raised to first
constexpr double kMaxDamping = 1.0;

int64_t tasks_for(int64_t rows) {
  return (rows + kRowsPerTask - 1) / kRowsPerTask;
}

// x - x is 0 for finite x and NaN otherwise: no branch, and eight sums do not wait for each other.
bool row_finite(const float* row, int64_t count) {
  constexpr int64_t kSums = 8;
  std::array<float, kSums> sums{};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int64_t k = 0; k < kSums; ++k) sums[static_cast<size_t>(k)] += row[i + k] - row[i + k];
  }
  for (; i < count; ++i) sums[0] += row[i] - row[i];
  return std::all_of(sums.begin(), sums.end(), [](float sum) { return sum == 0; });
}

bool all_finite(tensor::Matrix<const float> m, device::ThreadPool& pool) {
  std::atomic<bool> finite{true};
  pool.parallel_for(tasks_for(m.rows), [&](int64_t task, int) {
    const int64_t end = std::min(m.rows, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < end; ++r) {
      if (!row_finite(m.row(r), m.cols)) finite = false;
    }
  });
  return pool.all(finite);
}

// 0.05, 0.1, 0.2, 0.4, 0.8, 1: as much as needed, no more steps than a handful.
std::vector<double> damping_ladder(double first) {
  std::vector<double> steps = {first};
  while (steps.back() < kMaxDamping) {
    steps.push_back(std::min(kMaxDamping, std::max(kFirstRaise, 2 * steps.back())));
  }
  return steps;
}

std::vector<int32_t> column_order(const std::vector<float>& diagonal, bool act_order) {
  std::vector<int32_t> order(diagonal.size());
  std::iota(order.begin(), order.end(), 0);
  if (act_order) {
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return diagonal[static_cast<size_t>(a)] > diagonal[static_cast<size_t>(b)];
    });
  }
  return order;
}

double mean_of_live(const SiteFactor& factor) {
  double sum = 0;
  int64_t live = 0;
  for (size_t i = 0; i < factor.diagonal.size(); ++i) {
    if (factor.dead[i]) continue;
    sum += factor.diagonal[i];
    ++live;
  }
  return live == 0 ? 1.0 : sum / static_cast<double>(live);
}

// H's rows and columns in `order` backwards, in place: columns row by row, then whole rows along the permutation's
// cycles, a strip of columns at a time.
void permute(tensor::Matrix<float> h, const std::vector<int32_t>& source, device::ThreadPool& pool) {
  const int64_t n = h.rows;
  pool.parallel_for(tasks_for(n), [&](int64_t task, int) {
    std::vector<float> row(static_cast<size_t>(n));
    const int64_t end = std::min(n, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) row[static_cast<size_t>(c)] = h.row(r)[source[static_cast<size_t>(c)]];
      std::memcpy(h.row(r), row.data(), row.size() * sizeof(float));
    }
  });
  constexpr int64_t kStrip = 256;
  pool.parallel_for((n + kStrip - 1) / kStrip, [&](int64_t task, int) {
    const int64_t begin = task * kStrip;
    const size_t bytes = static_cast<size_t>(std::min(kStrip, n - begin)) * sizeof(float);
    std::array<float, kStrip> first;
    std::vector<uint8_t> done(static_cast<size_t>(n));
    for (int64_t start = 0; start < n; ++start) {
      if (done[static_cast<size_t>(start)]) continue;
      std::memcpy(first.data(), h.row(start) + begin, bytes);
      int64_t r = start;
      for (; source[static_cast<size_t>(r)] != start; r = source[static_cast<size_t>(r)]) {
        done[static_cast<size_t>(r)] = 1;
        std::memcpy(h.row(r) + begin, h.row(source[static_cast<size_t>(r)]) + begin, bytes);
      }
      done[static_cast<size_t>(r)] = 1;
      std::memcpy(h.row(r) + begin, first.data(), bytes);
    }
  });
}

// The diagonal blocks out of the (reversed) Hessian, in `order`: row n - 1 - r of `to` holds row r's block backwards.
void keep_diagonal_blocks(tensor::Matrix<const float> reversed, tensor::Matrix<float> to) {
  const int64_t n = reversed.rows;
  for (int64_t r = 0; r < n; ++r) {
    const int64_t begin = r / factor_block() * factor_block();
    const int64_t size = std::min(factor_block(), n - begin);
    for (int64_t c = 0; c < size; ++c) to.row(n - 1 - r)[size - 1 - c] = reversed.row(r)[begin + c];
  }
}

// The lower triangle of the damped Hessian: from the upper one, and inside the diagonal blocks from where they are
// kept. Dead columns get the mean, so that the damping means the same for them.
void fill_lower(const SiteFactor& factor, double mean, tensor::Matrix<float> to, device::ThreadPool& pool) {
  const int64_t n = to.rows;
  const tensor::Matrix<const float> blocks = factor.diagonal_blocks.matrix<float>();
  pool.parallel_for(tasks_for(n), [&](int64_t task, int) {
    const int64_t first = task * kRowsPerTask;
    const int64_t end = std::min(n, first + kRowsPerTask);
    const int64_t begin = first / factor_block() * factor_block();  // of the diagonal block that holds these rows
    for (int64_t c = 0; c < begin; ++c) {
      for (int64_t r = first; r < end; ++r) to.row(r)[c] = to.row(c)[r];
    }
    const int64_t size = std::min(factor_block(), n - begin);
    for (int64_t r = first; r < end; ++r) {
      const float* kept = blocks.row(n - 1 - r);
      for (int64_t c = 0; c <= r - begin; ++c) to.row(r)[begin + c] = kept[size - 1 - c];
      const int32_t original = factor.order[static_cast<size_t>(n - 1 - r)];
      const double own = factor.dead[static_cast<size_t>(original)] ? mean : to.row(r)[r];
      to.row(r)[r] = static_cast<float>(own + factor.damping * mean);
    }
  });
}

// The columns of L below its diagonal, divided by the diagonal. False if an entry is not finite.
bool divide_by_diagonal(tensor::Matrix<float> m, device::ThreadPool& pool) {
  const int64_t n = m.rows;
  std::vector<float> inverse(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) inverse[static_cast<size_t>(i)] = 1.0f / m.row(i)[i];
  std::atomic<bool> finite{true};
  pool.parallel_for(tasks_for(n), [&](int64_t task, int) {
    const int64_t end = std::min(n, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < end; ++r) {
      for (int64_t c = 0; c < r; ++c) m.row(r)[c] *= inverse[static_cast<size_t>(c)];
      if (!row_finite(m.row(r), r)) finite = false;
    }
  });
  return pool.all(finite);
}

// Rows and columns backwards: of a dense matrix that is the whole array backwards.
void reverse_all(std::span<float> all, device::ThreadPool& pool) {
  constexpr int64_t kPerTask = 1 << 16;
  const int64_t half = static_cast<int64_t>(all.size()) / 2;
  pool.parallel_for((half + kPerTask - 1) / kPerTask, [&](int64_t task, int) {
    const int64_t end = std::min(half, (task + 1) * kPerTask);
    for (int64_t i = task * kPerTask; i < end; ++i) std::swap(all[i], all[all.size() - 1 - i]);
  });
}

bool try_factor(double mean, SiteFactor& factor, device::ThreadPool& pool) {
  const tensor::Matrix<float> m = factor.feedback.matrix<float>();
  fill_lower(factor, mean, m, pool);
  return cholesky_in_place(m, pool) && divide_by_diagonal(m, pool);
}

}  // namespace

StatusOr<SiteFactor> factor_site(tensor::Tensor hessian, const SolverOptions& options, device::ThreadPool& pool) {
  if (hessian.dtype() != tensor::DType::kF32 || hessian.shape().size() != 2 || hessian.dim(0) == 0 ||
      hessian.dim(0) != hessian.dim(1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("Hessian is ", tensor::to_string(hessian.shape()), ", not square, or not F32"));
  }
  const int64_t n = hessian.rows();
  if (!(options.damp_percent >= 0 && options.damp_percent <= kMaxDamping)) {
    return absl::InvalidArgumentError(absl::StrCat("damping ", options.damp_percent, " is not in [0, 1]"));
  }
  const tensor::Matrix<float> h = hessian.matrix<float>();
  if (!all_finite(h, pool)) return absl::FailedPreconditionError("Hessian holds NaN or infinity");
  blas::use_one_thread();

  SiteFactor factor;
  factor.diagonal.resize(static_cast<size_t>(n));
  factor.dead.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const float own = h.row(i)[i];
    if (own < 0) return absl::FailedPreconditionError(absl::StrCat("Hessian has ", own, " on its diagonal"));
    factor.diagonal[static_cast<size_t>(i)] = own;
    factor.dead[static_cast<size_t>(i)] = own == 0;
  }
  factor.order = column_order(factor.diagonal, options.act_order);
  permute(h, {factor.order.rbegin(), factor.order.rend()}, pool);
  factor.feedback = std::move(hessian);
  factor.diagonal_blocks = tensor::Tensor(tensor::DType::kF32, {n, factor_block()});
  keep_diagonal_blocks(h, factor.diagonal_blocks.matrix<float>());
  const double mean = mean_of_live(factor);
  for (const double damping : damping_ladder(options.damp_percent)) {
    factor.damping = damping;
    if (try_factor(mean, factor, pool)) {
      reverse_all(factor.feedback.as<float>(), pool);
      return factor;
    }
    ++factor.ladder_steps;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("Hessian is not positive definite, not even with ", kMaxDamping, " of its mean diagonal added"));
}

}  // namespace gridquant::quant
