// Sampling. Not here: where logits come from (generator).
#include "stages/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace gridquant::stages {
namespace {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ull;
constexpr size_t kFirstSorted = 1024;  // candidates that are put in order before it is known how many are needed

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// The tokens that top_k and top_p leave, most likely first.
std::vector<int32_t> kept(const std::vector<double>& weights, const Sampling& sampling) {
  std::vector<int32_t> ids(weights.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto before = [&](int32_t a, int32_t b) {
    const double left = weights[static_cast<size_t>(a)];
    const double right = weights[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  };
  size_t most = ids.size();
  if (sampling.top_k > 0) most = std::min(most, static_cast<size_t>(sampling.top_k));
  size_t sorted = sampling.top_p < 1 ? std::min(most, kFirstSorted) : most;
  while (true) {
    std::partial_sort(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(sorted), ids.end(), before);
    if (sampling.top_p >= 1) break;
    const auto weight_of = [&](double sum, int32_t id) { return sum + weights[static_cast<size_t>(id)]; };
    const double all = sampling.top_k > 0 && sorted == most
                           ? std::accumulate(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(most), 0.0, weight_of)
                           : std::accumulate(weights.begin(), weights.end(), 0.0);
    double sum = 0;
    for (size_t i = 0; i < sorted; ++i) {
      sum += weights[static_cast<size_t>(ids[i])];
      if (sum < sampling.top_p * all) continue;
      ids.resize(i + 1);
      return ids;
    }
    if (sorted == most) break;
    sorted = std::min(most, 4 * sorted);
  }
  ids.resize(most);
  return ids;
}

}  // namespace

double uniform_at(uint64_t seed, uint64_t sequence, uint64_t position) {
  const uint64_t own = mix(seed + kGolden * (sequence + 1));
  return static_cast<double>(mix(own + kGolden * (position + 1)) >> 11) * 0x1p-53;
}

int32_t sample(std::span<const float> logits, const Sampling& sampling, double uniform) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (sampling.temperature == 0) return static_cast<int32_t>(largest - logits.begin());
  std::vector<double> weights(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    weights[i] = std::exp((static_cast<double>(logits[i]) - *largest) / sampling.temperature);
  }
  std::vector<int32_t> ids;
  if (sampling.top_k > 0 || sampling.top_p < 1) {
    ids = kept(weights, sampling);
  } else {
    ids.resize(weights.size());
    std::iota(ids.begin(), ids.end(), 0);
  }
  double total = 0;
  for (const int32_t id : ids) total += weights[static_cast<size_t>(id)];
  double left = uniform * total;
  for (const int32_t id : ids) {
    left -= weights[static_cast<size_t>(id)];
    if (left < 0) return id;
  }
  return ids.back();
}

}  // namespace gridquant::stages
