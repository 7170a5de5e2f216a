// One list serves all grids. Because every candidate is judged at its least-squares scale, 12 steps per sign do what a
// sweep does, a second look around the best one nothing: mean error of SmolLM2-135M's weights, W4 symmetric, group 64,
// weighted with the Hessian's diagonal: 0.010748; with 8 finer steps around the best 0.010740, with 20 coarse ones and
// those 0.010721. How far the steps reach counts more: to 1.62 instead of 1.76 it is 0.010807.
#include "engine/quant/search/candidates.h"

namespace gridquant::quant {
namespace {

constexpr float kSteps[] = {0.92f, 0.96f, 1.00f, 1.05f, 1.11f, 1.17f, 1.24f, 1.31f, 1.39f, 1.49f, 1.61f, 1.76f};
constexpr float kShifts[] = {0.0f, -1.0f, 1.0f};
constexpr Candidates kCandidates = {kSteps, kShifts, 1};

}  // namespace

const Candidates& candidates_for(const GridSpec&) {
  return kCandidates;
}

}  // namespace gridquant::quant
