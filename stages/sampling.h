// The next token out of a model's logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gridquant::stages {

struct Sampling {
  double temperature = 1.0;  // 0: the most likely token
  int64_t top_k = 0;         // among so many of the most likely; 0: all
  double top_p = 1.0;        // among the fewest whose probabilities sum up to it, after top_k
};

// A number in [0, 1) for each (seed, sequence, position), in any order: nothing is drawn from a stream, so that the
// result does not depend on what is computed when. Two rounds of splitmix64's mixing function.
double uniform_at(uint64_t seed, uint64_t sequence, uint64_t position);

// Draws with `uniform` in [0, 1). Probabilities are softmax(logits / temperature) in fp64; of equally likely tokens the
// lower id comes first. `logits` is not empty and finite.
int32_t sample(std::span<const float> logits, const Sampling& sampling, double uniform);

}  // namespace gridquant::stages
