// The product that factorizing a Hessian, solving with its factor and measuring with it all consist of, on panels: 48
// columns of a matrix (lanes), one row after the other, so that a sum never crosses lanes. A row of it is a target, or
// an error that targets are corrected by.
// Fused multiply-add, one step after the other: where the processor has it (AVX2 and wider), the same bits at every
// vector width and however the work is cut. Not here: what the coefficients are.
#pragma once

#include <cstdint>

namespace gridquant::quant {

// Three AVX-512 vectors, six of AVX2: with 8 or 4 rows they fill the registers.
inline constexpr int64_t kPanelLanes = 48;

// What target t loses of the error of step s: data[t * target_stride + s * step_stride]. Borrowed.
struct Coefficients {
  const float* data;
  int64_t target_stride;
  int64_t step_stride;

  Coefficients from(int64_t target, int64_t step) const {
    return {data + target * target_stride + step * step_stride, target_stride, step_stride};
  }
};

// targets[t][lane] -= sum over s of coefficient(t, s) * errors[s][lane], in order of s. Both are dense panels, 64-byte
// aligned, and apart.
void subtract_products(float* targets, int64_t count, const Coefficients& coefficients, const float* errors,
                       int64_t steps);

}  // namespace gridquant::quant
