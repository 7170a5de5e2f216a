// Rotary frequencies. Not here: cosines and sines (ops/rope.h).
#include "engine/model/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gridquant::model {
namespace {

// theta^(2 i / n) for the n / 2 pairs.
std::vector<float> periods(double theta, int64_t n) {
  std::vector<float> result;
  for (int64_t i = 0; i < n; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(n);
    result.push_back(static_cast<float>(std::pow(theta, static_cast<double>(exponent))));
  }
  return result;
}

void llama3(const RopeConfig& rope, std::vector<float>& frequencies) {
  const double original = static_cast<double>(rope.original_positions);
  const double low_wavelength = original / rope.low_freq_factor;
  const double high_wavelength = original / rope.high_freq_factor;
  for (float& f : frequencies) {
    const double wavelength = 2 * std::numbers::pi / static_cast<double>(f);
    if (wavelength < high_wavelength) continue;
    const double slow = static_cast<double>(f) / rope.factor;
    const double smooth =
        (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
    const double between = (1 - smooth) * slow + smooth * static_cast<double>(f);
    f = static_cast<float>(wavelength > low_wavelength ? slow : between);
  }
}

// The pair (as a real number) that turns `rotations` times within the original positions.
double pair_of_rotations(const RopeConfig& rope, double rotations, int64_t n) {
  const double original = static_cast<double>(rope.original_positions);
  return static_cast<double>(n) * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
}

void yarn(const RopeConfig& rope, int64_t n, std::vector<float>& frequencies) {
  double low = pair_of_rotations(rope, rope.beta_fast, n);
  double high = pair_of_rotations(rope, rope.beta_slow, n);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(n - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double f = frequencies[i];
    frequencies[i] = static_cast<float>(f / rope.factor * ramp + f * (1 - ramp));
  }
}

}  // namespace

int64_t rotated_elements(const RopeConfig& rope, int64_t head_dim) {
  return static_cast<int64_t>(static_cast<double>(head_dim) * rope.rotated_share);
}

int64_t rope_regime(const RopeConfig& rope, int64_t tokens) {
  const bool is_long = tokens > rope.original_positions;
  if (rope.scaling == RopeScaling::kDynamic) return is_long ? tokens : 0;
  return rope.scaling == RopeScaling::kLongRope && is_long ? 1 : 0;
}

std::vector<float> rope_frequencies(const RopeConfig& rope, int64_t head_dim, int64_t tokens) {
  const int64_t n = rotated_elements(rope, head_dim);
  double theta = rope.theta;
  if (rope.scaling == RopeScaling::kDynamic && tokens > rope.original_positions) {
    const double stretch = rope.factor * static_cast<double>(tokens) / static_cast<double>(rope.original_positions);
    theta *= std::pow(stretch - (rope.factor - 1), static_cast<double>(n) / static_cast<double>(n - 2));
  }
  std::vector<float> values = periods(theta, n);
  if (rope.scaling == RopeScaling::kLongRope) {
    const auto& factors = tokens > rope.original_positions ? rope.long_factors : rope.short_factors;
    for (size_t i = 0; i < values.size(); ++i) values[i] *= factors[i];
  }
  for (float& v : values) v = 1.0f / v;
  if (rope.scaling == RopeScaling::kLinear) {
    for (float& v : values) v /= static_cast<float>(rope.factor);
  }
  if (rope.scaling == RopeScaling::kLlama3) llama3(rope, values);
  if (rope.scaling == RopeScaling::kYarn) yarn(rope, n, values);
  return values;
}

}  // namespace gridquant::model
