// tr(E H E^T) from the triangle of H that a factor keeps: above the diagonal counts twice. Half the work of E H.
#include <algorithm>
#include <span>
#include <vector>

#include "engine/quant/panel/panel.h"
#include "engine/quant/solver.h"

namespace gridquant::quant {
namespace {

constexpr int64_t kRowsPerTask = 64;
constexpr int64_t kRowsAtOnce = 8;

// Rows of E as lanes: panels of [K][kPanelLanes], in the factor's order, zeros past the last row.
class ErrorPanels {
 public:
  ErrorPanels(const SiteFactor& factor, tensor::Matrix<const float> errors)
      : columns_(errors.cols),
        count_((errors.rows + kPanelLanes - 1) / kPanelLanes),
        memory_(static_cast<size_t>(count_ * columns_ * kPanelLanes) * sizeof(float)) {
    std::ranges::fill(std::span(at(0, 0), memory_.size() / sizeof(float)), 0.0f);
    for (int64_t r = 0; r < errors.rows; ++r) {
      float* to = at(r / kPanelLanes, 0) + r % kPanelLanes;
      for (int64_t p = 0; p < columns_; ++p) {
        to[p * kPanelLanes] = errors.row(r)[factor.order[static_cast<size_t>(p)]];
      }
    }
  }
  int64_t count() const { return count_; }
  int64_t columns() const { return columns_; }
  float* at(int64_t panel, int64_t column) {
    return reinterpret_cast<float*>(memory_.data()) + (panel * columns_ + column) * kPanelLanes;
  }

 private:
  int64_t columns_, count_;
  tensor::Buffer memory_;
};

// To each lane's sum: e_i (H_ii e_i + 2 sum over j > i of H_ij e_j), over rows i of H in [begin, end).
void add_rows(const SiteFactor& factor, ErrorPanels& errors, int64_t panel, int64_t begin, int64_t end, double* sums) {
  const tensor::Matrix<const float> h = factor.feedback.matrix<float>();
  alignas(64) float products[kRowsAtOnce * kPanelLanes];
  for (int64_t first = begin; first < end; first += kRowsAtOnce) {
    const int64_t last = std::min(end, first + kRowsAtOnce);
    std::fill(products, products + kRowsAtOnce * kPanelLanes, 0.0f);
    const Coefficients rows{h.row(first), h.stride, 1};
    subtract_products(products, last - first, rows.from(0, last), errors.at(panel, last), h.rows - last);
    for (int64_t i = first; i < last; ++i) {
      float* product = products + (i - first) * kPanelLanes;  // minus what is wanted
      subtract_products(product, 1, rows.from(i - first, i + 1), errors.at(panel, i + 1), last - i - 1);
      const double own = factor.diagonal[static_cast<size_t>(factor.order[static_cast<size_t>(i)])];
      const float* e = errors.at(panel, i);
      for (int64_t lane = 0; lane < kPanelLanes; ++lane) sums[lane] += e[lane] * (own * e[lane] - 2.0 * product[lane]);
    }
  }
}

}  // namespace

std::vector<double> hessian_errors(const SiteFactor& factor, tensor::Matrix<const float> errors,
                                   device::ThreadPool& pool) {
  const auto n = static_cast<int64_t>(factor.order.size());
  ErrorPanels panels(factor, errors);
  const int64_t ranges = (n + kRowsPerTask - 1) / kRowsPerTask;
  const int64_t tasks = ranges * panels.count();
  tensor::Buffer buffer(static_cast<size_t>(tasks * kPanelLanes) * sizeof(double), pool.memory());
  auto* const sums = reinterpret_cast<double*>(buffer.data());  // of each task: [kPanelLanes]
  pool.parallel_for(tasks, [&](int64_t task, int) {
    const int64_t begin = task % ranges * kRowsPerTask;
    std::fill_n(sums + task * kPanelLanes, kPanelLanes, 0.0);
    add_rows(factor, panels, task / ranges, begin, std::min(n, begin + kRowsPerTask), sums + task * kPanelLanes);
  });
  std::vector<double> of_rows(static_cast<size_t>(errors.rows));
  for (int64_t r = 0; r < errors.rows; ++r) {
    for (int64_t range = 0; range < ranges; ++range) {
      of_rows[static_cast<size_t>(r)] += sums[(r / kPanelLanes * ranges + range) * kPanelLanes + r % kPanelLanes];
    }
  }
  return of_rows;
}

}  // namespace gridquant::quant
