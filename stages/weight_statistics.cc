// What follows from the moments of a tensor, in passes over its own type: no fp32 copy of the whole tensor is made.
#include "stages/weight_statistics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/tensor/moments.h"

namespace gridquant::stages {
namespace {

constexpr double kOutlierDeviations = 6;

double total(const std::array<double, tensor::kMomentLanes>& lanes) {
  double all = 0;
  for (const double lane : lanes) all += lane;
  return all;
}

// "[3, 17]" of element `index`.
std::string position_of(int64_t index, const tensor::Shape& shape) {
  tensor::Shape position(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    position[d] = index % shape[d];
    index /= shape[d];
  }
  return tensor::to_string(position);
}

float element(const tensor::Tensor& tensor, size_t i) {
  if (tensor.dtype() == tensor::DType::kF32) return tensor.as<float>()[i];
  if (tensor.dtype() == tensor::DType::kBF16) return tensor::to_float(tensor.as<tensor::BF16>()[i]);
  return tensor::to_float(tensor.as<tensor::F16>()[i]);
}

Status not_finite(const std::string& name, const tensor::Tensor& tensor) {
  size_t i = 0;
  while (std::isfinite(element(tensor, i))) ++i;
  return absl::FailedPreconditionError(
      absl::StrCat("tensor ", name, ": element ", position_of(static_cast<int64_t>(i), tensor.shape()), " is ",
                   std::isnan(element(tensor, i)) ? "NaN" : "infinite"));
}

}  // namespace

StatusOr<WeightStatistics> weight_statistics(const std::string& name, const tensor::Tensor& tensor) {
  WeightStatistics s;
  const int64_t count = tensor.count();
  if (count == 0) return s;
  const tensor::RangeSums range = tensor::range_sums(tensor);
  const double sum = total(range.sum);
  // Finite fp32 elements cannot overflow a sum in fp64, so this finds NaN and infinity and nothing else.
  if (!std::isfinite(sum)) return not_finite(name, tensor);
  s.min = *std::ranges::min_element(range.min);
  s.max = *std::ranges::max_element(range.max);
  s.absmax = std::max(std::abs(s.min), std::abs(s.max));
  s.mean = sum / static_cast<double>(count);
  const tensor::CentralSums central = tensor::central_sums(tensor, s.mean);
  const double variance = total(central.square) / static_cast<double>(count);
  s.stddev = std::sqrt(variance);
  if (variance > 0) s.kurtosis = total(central.fourth) / static_cast<double>(count) / (variance * variance);
  if (s.stddev == 0) return s;
  const auto low = static_cast<float>(s.mean - kOutlierDeviations * s.stddev);
  const auto high = static_cast<float>(s.mean + kOutlierDeviations * s.stddev);
  if (s.min >= low && s.max <= high) return s;
  s.outlier_share = static_cast<double>(tensor::count_outside(tensor, low, high)) / static_cast<double>(count);
  return s;
}

}  // namespace gridquant::stages
