// The error that GPTQ minimises, tr((W - Q) H (W - Q)^T), over a fixed sample of rows: cheap enough to ask of every
// weight whether GPTQ really did better than plain rounding.
#pragma once

#include <vector>

#include "engine/device/thread_pool.h"
#include "engine/quant/solver.h"
#include "engine/tensor/tensor.h"

namespace gridquant::stages {

// The rows that are looked at: at most kSampleRows, evenly spread over `rows`. Twice as many are one panel of products.
inline constexpr int64_t kSampleRows = 24;
std::vector<int64_t> sample_of_rows(int64_t rows);

struct SampledErrors {
  double own = 0;      // of q
  double rounded = 0;  // of plain rounding on q's grid
};
// Over the rows `sample` of a weight, which `rows` holds one below the other; q holds all rows of the weight. `factor`
// is of the weight's site.
SampledErrors sampled_errors(const quant::SiteFactor& factor, tensor::Matrix<const float> rows,
                             const quant::QuantizedWeight& q, const std::vector<int64_t>& sample,
                             device::ThreadPool& pool);

// The sampled rows of w, packed one below the other.
tensor::Tensor gather_rows(tensor::Matrix<const float> w, const std::vector<int64_t>& sample);

}  // namespace gridquant::stages
