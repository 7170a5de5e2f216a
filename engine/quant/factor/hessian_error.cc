// tr(E H E^T) from the triangle of H that a factor keeps: off-diagonal blocks count twice. Half the work of E H.
#include <algorithm>
#include <span>
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

// sum over rows of e of e_span H e_columns^T; `h` is where the rows `span` of H have the columns `columns`.
double product_sum(const float* h, int64_t h_stride, tensor::Matrix<const float> e, Span span, Span columns) {
  if (columns.size == 0) return 0;
  std::vector<float> product(static_cast<size_t>(span.size * e.rows), 0.0f);  // minus H e^T
  blas::subtract_a_bt({span.size, e.rows, columns.size}, {h, h_stride}, {e.data + columns.begin, e.stride},
                      {product.data(), e.rows});
  double sum = 0;
  for (int64_t c = 0; c < span.size; ++c) {
    for (int64_t r = 0; r < e.rows; ++r) {
      sum -= static_cast<double>(product[static_cast<size_t>(c * e.rows + r)]) * e.row(r)[span.begin + c];
    }
  }
  return sum;
}

// The block's rows of H left of its diagonal block, and the diagonal block.
double block_sum(const SiteFactor& factor, tensor::Matrix<const float> e, Span span) {
  const tensor::Matrix<const float> h = factor.feedback.matrix<float>();
  const tensor::Matrix<const float> diagonal = factor.diagonal_blocks.matrix<float>();
  return 2 * product_sum(h.row(span.begin), h.stride, e, span, {0, span.begin}) +
         product_sum(diagonal.row(span.begin), diagonal.stride, e, span, span);
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
  tensor::Buffer buffer(static_cast<size_t>(blocks) * sizeof(double), pool.memory());
  const std::span sums(reinterpret_cast<double*>(buffer.data()), static_cast<size_t>(blocks));
  pool.parallel_for(blocks,
                    [&](int64_t i, int) { sums[static_cast<size_t>(i)] = block_sum(factor, e, block_span(n, i)); });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace gridquant::quant
