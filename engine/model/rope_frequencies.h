// Frequencies of the rotary embedding (Su et al. 2021, arXiv:2104.09864) under each scaling: linear (position
// interpolation, arXiv:2306.15595), dynamic ("NTK-aware"), YaRN (arXiv:2309.00071), LongRoPE (arXiv:2402.13753) and
// Llama 3.1's. Rounded to fp32 where transformers' modeling_rope_utils.py rounds.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/config.h"

namespace gridquant::model {

// How many elements of a head are rotated. Even.
int64_t rotated_elements(const RopeConfig& rope, int64_t head_dim);

// Radians per position of each pair of rotated elements, for a sequence of `tokens` tokens.
std::vector<float> rope_frequencies(const RopeConfig& rope, int64_t head_dim, int64_t tokens);

// Sequences whose lengths have the same number here have the same frequencies.
int64_t rope_regime(const RopeConfig& rope, int64_t tokens);

}  // namespace gridquant::model
