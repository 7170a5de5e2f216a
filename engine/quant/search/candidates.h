// The steps that the scale search tries, as factors on 1 / (range of the group spread over all codes).
#pragma once

#include <span>

#include "engine/quant/quantized_weight.h"

namespace gridquant::quant {

struct Candidates {
  std::span<const float> steps;        // a multiple of four; from the group's range; symmetric grids try both signs
  std::span<const float> zero_shifts;  // asymmetric only: around the zero point of the range
  int rounds;                          // of codes -> least-squares scale -> codes
};

const Candidates& candidates_for(const GridSpec& grid);

}  // namespace gridquant::quant
