// Moments of a tensor in two passes over its own type: no fp32 copy of the whole tensor is made.
#include "stages/weight_statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"

namespace gridquant::stages {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kSpan = 4096;  // elements converted at a time
constexpr double kOutlierDeviations = 6;

struct Lanes {
  std::array<double, kLanes> sums{};
  double total() const {
    double all = 0;
    for (const double s : sums) all += s;
    return all;
  }
};

// Calls fn with consecutive spans of at most kSpan elements as fp32, padded with nothing.
void for_each_span(const tensor::Tensor& tensor, const std::function<void(const float* x, int64_t count)>& fn) {
  std::array<float, kSpan> converted;
  const int64_t total = tensor.count();
  for (int64_t begin = 0; begin < total; begin += kSpan) {
    const int64_t count = std::min(kSpan, total - begin);
    const std::span<float> to(converted.data(), static_cast<size_t>(count));
    if (tensor.dtype() == tensor::DType::kF32) {
      fn(tensor.as<float>().data() + begin, count);
    } else if (tensor.dtype() == tensor::DType::kBF16) {
      tensor::bf16_to_f32(tensor.as<tensor::BF16>().subspan(begin, count), to);
      fn(converted.data(), count);
    } else {
      tensor::f16_to_f32(tensor.as<tensor::F16>().subspan(begin, count), to);
      fn(converted.data(), count);
    }
  }
}

struct FirstPass {
  Lanes sum;
  std::array<float, kLanes> min, max;
  FirstPass() {
    min.fill(std::numeric_limits<float>::infinity());
    max.fill(-std::numeric_limits<float>::infinity());
  }
  void add(const float* x, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) {
        const float v = x[i + l];
        sum.sums[l] += v;
        min[l] = v < min[l] ? v : min[l];
        max[l] = v > max[l] ? v : max[l];
      }
    }
    for (; i < count; ++i) {
      sum.sums[i % kLanes] += x[i];
      min[i % kLanes] = std::min(min[i % kLanes], x[i]);
      max[i % kLanes] = std::max(max[i % kLanes], x[i]);
    }
  }
};

struct SecondPass {
  double mean = 0;
  Lanes square, fourth;
  void add(const float* x, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) add_one(x[i + l], l);
    }
    for (; i < count; ++i) add_one(x[i], i % kLanes);
  }

 private:
  void add_one(float v, int64_t lane) {
    const double d = v - mean;
    const double d2 = d * d;
    square.sums[lane] += d2;
    fourth.sums[lane] += d2 * d2;
  }
};

int64_t count_outliers(const tensor::Tensor& tensor, double mean, double deviation) {
  if (deviation == 0) return 0;
  const float low = static_cast<float>(mean - kOutlierDeviations * deviation);
  const float high = static_cast<float>(mean + kOutlierDeviations * deviation);
  int64_t outliers = 0;
  for_each_span(tensor, [&](const float* x, int64_t count) {
    int64_t found = 0;
    for (int64_t i = 0; i < count; ++i) found += (x[i] < low) | (x[i] > high) ? 1 : 0;
    outliers += found;
  });
  return outliers;
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

Status not_finite(const std::string& name, const tensor::Tensor& tensor) {
  int64_t base = 0;
  int64_t first = -1;
  float value = 0;
  for_each_span(tensor, [&](const float* x, int64_t count) {
    for (int64_t i = 0; i < count && first < 0; ++i) {
      if (std::isfinite(x[i])) continue;
      first = base + i;
      value = x[i];
    }
    base += count;
  });
  return absl::FailedPreconditionError(absl::StrCat("tensor ", name, ": element ", position_of(first, tensor.shape()),
                                                    " is ", std::isnan(value) ? "NaN" : "infinite"));
}

}  // namespace

StatusOr<WeightStatistics> weight_statistics(const std::string& name, const tensor::Tensor& tensor) {
  WeightStatistics s;
  const int64_t count = tensor.count();
  if (count == 0) return s;
  FirstPass first;
  for_each_span(tensor, [&](const float* x, int64_t n) { first.add(x, n); });
  const double sum = first.sum.total();
  // Finite fp32 elements cannot overflow a sum in fp64, so this finds NaN and infinity and nothing else.
  if (!std::isfinite(sum)) return not_finite(name, tensor);
  s.min = *std::min_element(first.min.begin(), first.min.end());
  s.max = *std::max_element(first.max.begin(), first.max.end());
  s.absmax = std::max(std::abs(s.min), std::abs(s.max));
  s.mean = sum / static_cast<double>(count);
  SecondPass second;
  second.mean = s.mean;
  for_each_span(tensor, [&](const float* x, int64_t n) { second.add(x, n); });
  const double variance = second.square.total() / static_cast<double>(count);
  s.stddev = std::sqrt(variance);
  if (variance > 0) s.kurtosis = second.fourth.total() / static_cast<double>(count) / (variance * variance);
  s.outlier_share = static_cast<double>(count_outliers(tensor, s.mean, s.stddev)) / static_cast<double>(count);
  return s;
}

}  // namespace gridquant::stages
