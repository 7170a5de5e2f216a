// The error that GPTQ minimises, tr((W - Q) H (W - Q)^T), over a fixed sample of rows: cheap enough to ask of every
// weight whether GPTQ really did better than plain rounding.
#pragma once

#include <vector>

#include "engine/base/status.h"
#include "engine/ops/linear.h"
#include "engine/quant/quantized_weight.h"
#include "engine/tensor/tensor.h"

namespace gridquant::stages {

class HessianError {
 public:
  // Copies `hessian` [K, K] into the layout that the library multiplies fastest.
  static StatusOr<HessianError> make(tensor::Matrix<const float> hessian);

  // The rows that are looked at: at most kSampleRows, evenly spread over `rows`.
  static constexpr int64_t kSampleRows = 32;
  static std::vector<int64_t> sample(int64_t rows);

  // Over the rows `sample` of w; q holds all rows of w, or exactly the sampled ones.
  StatusOr<double> of(tensor::Matrix<const float> w, const quant::QuantizedWeight& q,
                      const std::vector<int64_t>& sample) const;

 private:
  ops::LinearWeight hessian_;
};

// The sampled rows of w, packed one below the other.
tensor::Tensor gather_rows(tensor::Matrix<const float> w, const std::vector<int64_t>& sample);

}  // namespace gridquant::stages
