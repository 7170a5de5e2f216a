// What GPTQ needs of a site's Hessian. Neither H^-1 nor its factor is formed: H = A D A^T, 1/3 n^3. All of it in the
// Hessian's own memory: A^T needs what is below the diagonal, and H, being symmetric, keeps what is above.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/quant/factor/ldl.h"
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

// H's rows and columns in `order`, in place: columns row by row, then whole rows along the permutation's cycles, a
// strip of columns at a time. False if an element is not finite.
bool permute(tensor::Matrix<float> h, const std::vector<int32_t>& order, device::ThreadPool& pool) {
  const int64_t n = h.rows;
  const bool stays = std::ranges::is_sorted(order);
  std::atomic<bool> finite{true};
  pool.parallel_for(tasks_for(n), [&](int64_t task, int) {
    std::vector<float> row(static_cast<size_t>(n));
    const int64_t end = std::min(n, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < end; ++r) {
      if (!row_finite(h.row(r), n)) finite = false;
      if (stays) continue;
      for (int64_t c = 0; c < n; ++c) row[static_cast<size_t>(c)] = h.row(r)[order[static_cast<size_t>(c)]];
      std::memcpy(h.row(r), row.data(), row.size() * sizeof(float));
    }
  });
  if (!pool.all(finite)) return false;
  if (stays) return true;
  constexpr int64_t kStrip = 64;
  pool.parallel_for((n + kStrip - 1) / kStrip, [&](int64_t task, int) {
    const int64_t begin = task * kStrip;
    const size_t bytes = static_cast<size_t>(std::min(kStrip, n - begin)) * sizeof(float);
    std::array<float, kStrip> first;
    std::vector<uint8_t> done(static_cast<size_t>(n));
    for (int64_t start = 0; start < n; ++start) {
      if (done[static_cast<size_t>(start)]) continue;
      std::memcpy(first.data(), h.row(start) + begin, bytes);
      int64_t r = start;
      for (; order[static_cast<size_t>(r)] != start; r = order[static_cast<size_t>(r)]) {
        done[static_cast<size_t>(r)] = 1;
        std::memcpy(h.row(r) + begin, h.row(order[static_cast<size_t>(r)]) + begin, bytes);
      }
      done[static_cast<size_t>(r)] = 1;
      std::memcpy(h.row(r) + begin, first.data(), bytes);
    }
  });
  return true;
}

// H below its diagonal again, from above it.
void fill_lower(tensor::Matrix<float> h, device::ThreadPool& pool) {
  pool.parallel_for(tasks_for(h.rows), [&](int64_t task, int) {
    const int64_t first = task * kRowsPerTask;
    const int64_t end = std::min(h.rows, first + kRowsPerTask);
    for (int64_t c = 0; c < end; ++c) {
      for (int64_t r = std::max(first, c + 1); r < end; ++r) h.row(r)[c] = h.row(c)[r];
    }
  });
}

// The diagonal of the damped Hessian, in the factor's order. Dead columns get the mean, so that the damping means the
// same for them.
std::vector<float> damped_diagonal(const SiteFactor& factor, double mean) {
  std::vector<float> damped;
  for (const int32_t column : factor.order) {
    const auto c = static_cast<size_t>(column);
    const double own = factor.dead[c] ? mean : factor.diagonal[c];
    damped.push_back(static_cast<float>(own + factor.damping * mean));
  }
  return damped;
}

Status not_finite() {
  return absl::FailedPreconditionError("Hessian holds NaN or infinity");
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
  SiteFactor factor;
  factor.diagonal.resize(static_cast<size_t>(n));
  factor.dead.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const float own = h.row(i)[i];
    if (!std::isfinite(own)) return not_finite();
    if (own < 0) return absl::FailedPreconditionError(absl::StrCat("Hessian has ", own, " on its diagonal"));
    factor.diagonal[static_cast<size_t>(i)] = own;
    factor.dead[static_cast<size_t>(i)] = own == 0;
  }
  factor.order = column_order(factor.diagonal, options.act_order);
  if (!permute(h, factor.order, pool)) return not_finite();
  factor.feedback = std::move(hessian);
  const double mean = mean_of_live(factor);
  for (const double damping : damping_ladder(options.damp_percent)) {
    factor.damping = damping;
    if (factor.ladder_steps > 0) fill_lower(h, pool);
    if (factor_ldl(h, damped_diagonal(factor, mean), pool)) return factor;
    ++factor.ladder_steps;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("Hessian is not positive definite, not even with ", kMaxDamping, " of its mean diagonal added"));
}

}  // namespace gridquant::quant
