#include "engine/ops/hold_to.h"

#include <dnnl.hpp>

#include "hwy/highway.h"

namespace gridquant::ops {

void hold_to(const device::CpuInfo& cpu) {
  const device::CpuInfo whole = device::detect_cpu();
  if (cpu.kind() == whole.kind()) return;
  // An error means that the library was asked for its processor before; it then keeps to what it told.
  dnnl::set_max_cpu_isa(cpu.avx512_bf16 ? dnnl::cpu_isa::avx512_core_bf16
                        : cpu.avx512    ? dnnl::cpu_isa::avx512_core
                                        : dnnl::cpu_isa::avx2);
#if defined(__x86_64__)
  if (!cpu.avx512) {
    hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
#endif
}

}  // namespace gridquant::ops
