// Statistics of one weight tensor: what analyze reports. Exact: 16 fixed lanes of fp64 sums, the same bits on every
// machine and for any number of threads.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/status.h"
#include "engine/tensor/tensor.h"

namespace gridquant::stages {

struct WeightStatistics {
  double min = 0;
  double max = 0;
  double absmax = 0;
  double mean = 0;
  double stddev = 0;
  double kurtosis = 0;       // fourth central moment over the squared variance: 3 for a normal distribution
  double outlier_share = 0;  // share of elements more than six standard deviations from the mean
};

// F32, F16 or BF16. FailedPrecondition names `name` and the first element that is NaN or infinite.
StatusOr<WeightStatistics> weight_statistics(const std::string& name, const tensor::Tensor& tensor);

}  // namespace gridquant::stages
