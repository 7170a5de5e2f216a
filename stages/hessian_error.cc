// Errors of sampled rows. Not here: their product with the Hessian (quant::hessian_errors), and what follows from it
// (block_quantizer).
#include "stages/hessian_error.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace gridquant::stages {
namespace {

// Row `r` of q minus the row `w`.
void row_error(const float* w, const quant::QuantizedWeight& q, int64_t r, float* error) {
  const int64_t group_columns = q.grid.group_columns(q.cols);
  for (int64_t g = 0; g < q.groups(); ++g) {
    const float scale = tensor::to_float(q.scales[static_cast<size_t>(r * q.groups() + g)]);
    const int zero = q.zeros[static_cast<size_t>(r * q.groups() + g)];
    const uint8_t* codes = q.codes.data() + r * q.cols;
    for (int64_t c = g * group_columns; c < std::min(q.cols, (g + 1) * group_columns); ++c) {
      error[c] = w[c] - scale * static_cast<float>(codes[c] - zero);
    }
  }
}

}  // namespace

std::vector<int64_t> sample_of_rows(int64_t rows) {
  const int64_t count = std::min(rows, kSampleRows);
  std::vector<int64_t> sample;
  for (int64_t i = 0; i < count; ++i) sample.push_back(i * rows / count);
  return sample;
}

SampledErrors sampled_errors(const quant::SiteFactor& factor, tensor::Matrix<const float> rows,
                             const quant::QuantizedWeight& q, const std::vector<int64_t>& sample,
                             device::ThreadPool& pool) {
  const auto count = static_cast<int64_t>(sample.size());
  tensor::Tensor errors(tensor::DType::kF32, {2 * count, rows.cols});
  const tensor::Matrix<float> e = errors.matrix<float>();
  for (int64_t i = 0; i < count; ++i) {
    row_error(rows.row(i), q, sample[i], e.row(i));
    float* rounded = e.row(count + i);
    q.round_row(sample[i], rows.row(i), rounded);
    for (int64_t c = 0; c < rows.cols; ++c) rounded[c] = rows.row(i)[c] - rounded[c];
  }
  const std::vector<double> of_rows = quant::hessian_errors(factor, e, pool);
  return {std::accumulate(of_rows.begin(), of_rows.begin() + count, 0.0),
          std::accumulate(of_rows.begin() + count, of_rows.end(), 0.0)};
}

tensor::Tensor gather_rows(tensor::Matrix<const float> w, const std::vector<int64_t>& sample) {
  tensor::Tensor rows(tensor::DType::kF32, {static_cast<int64_t>(sample.size()), w.cols});
  const tensor::Matrix<float> to = rows.matrix<float>();
  for (size_t i = 0; i < sample.size(); ++i) {
    std::memcpy(to.row(static_cast<int64_t>(i)), w.row(sample[i]), static_cast<size_t>(w.cols) * sizeof(float));
  }
  return rows;
}

}  // namespace gridquant::stages
