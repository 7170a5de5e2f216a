// Body of panel/panel.h, once per vector width.
#include "engine/quant/panel/panel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/quant/panel/panel.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

// Not above this line: foreach_target includes this file once per vector width.
#include "engine/quant/panel/panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gridquant::quant::HWY_NAMESPACE {

void SubtractProducts(float* targets, int64_t count, const Coefficients& coefficients, const float* errors,
                      int64_t steps) {
  subtract_panel(targets, count, coefficients, errors, steps);
}

}  // namespace gridquant::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gridquant::quant {

HWY_EXPORT(SubtractProducts);

void subtract_products(float* targets, int64_t count, const Coefficients& coefficients, const float* errors,
                       int64_t steps) {
  HWY_DYNAMIC_DISPATCH(SubtractProducts)(targets, count, coefficients, errors, steps);
}

}  // namespace gridquant::quant
#endif  // HWY_ONCE
