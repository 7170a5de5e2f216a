// tr(E H E^T) from the triangle of H that a factor keeps: off-diagonal blocks count twice. Half the work of E H.
#include <algorithm>
#include <vector>

#include "engine/quant/factor/blas.h"
#include "engine/quant/factor/cholesky.h"
#include "engine/quant/solver.h"

namespace gridquant::quant {
namespace {

// Diagonal blocks as factor_site left them: counted from the end, so that the first one is the smaller one.
struct Span {
  int64_t begin;
  int64_t size;
};
Span block_span(int64_t n, int64_t i) {
  const int64_t end = n - i * factor_block();
  const int64_t begin = std::max<int64_t>(0, end - factor_block());
  return {begin, end - begin};
}

// sum over rows of e of e_span H_span,before e_before^T, for the block's rows of H left of its diagonal block.
double off_diagonal(tensor::Matrix<const float> h, tensor::Matrix<const float> e, Span span) {
  if (span.begin == 0) return 0;
  std::vector<float> product(static_cast<size_t>(span.size * e.rows), 0.0f);  // minus H e^T
  blas::subtract_a_bt({span.size, e.rows, span.begin}, {h.row(span.begin), h.stride}, {e.data, e.stride},
                      {product.data(), e.rows});
  double sum = 0;
  for (int64_t c = 0; c < span.size; ++c) {
    for (int64_t r = 0; r < e.rows; ++r) {
      sum -= static_cast<double>(product[static_cast<size_t>(c * e.rows + r)]) * e.row(r)[span.begin + c];
    }
  }
  return sum;
}

double on_diagonal(tensor::Matrix<const float> block, tensor::Matrix<const float> e, Span span) {
  double sum = 0;
  for (int64_t r = 0; r < e.rows; ++r) {
    const float* row = e.row(r) + span.begin;
    for (int64_t i = 0; i < span.size; ++i) {
      const float* h = block.row(span.begin + i);
      double inner = 0;
      for (int64_t j = 0; j < span.size; ++j) inner += static_cast<double>(h[j]) * row[j];
      sum += inner * row[i];
    }
  }
  return sum;
}

}  // namespace

double hessian_error(const SiteFactor& factor, tensor::Matrix<const float> errors, device::ThreadPool& pool) {
  blas::use_one_thread();
  const auto n = static_cast<int64_t>(factor.order.size());
  tensor::Tensor ordered(tensor::DType::kF32, {errors.rows, n});
  const tensor::Matrix<float> e = ordered.matrix<float>();
  for (int64_t r = 0; r < errors.rows; ++r) {
    for (int64_t p = 0; p < n; ++p) e.row(r)[p] = errors.row(r)[factor.order[static_cast<size_t>(p)]];
  }
  const int64_t blocks = (n + factor_block() - 1) / factor_block();
  std::vector<double> sums(static_cast<size_t>(blocks));
  pool.parallel_for(blocks, [&](int64_t i, int) {
    const Span span = block_span(n, i);
    sums[static_cast<size_t>(i)] = 2 * off_diagonal(factor.feedback.matrix<float>(), e, span) +
                                   on_diagonal(factor.diagonal_blocks.matrix<float>(), e, span);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace gridquant::quant
