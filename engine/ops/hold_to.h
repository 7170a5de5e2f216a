// Holds oneDNN and our own vector kernels to a lesser processor than this machine has.
#pragma once

#include "engine/device/cpu.h"

namespace gridquant::ops {

// `cpu`: what device::cpu_within left. Before the first product and the first kernel, on the only thread. Does nothing
// for what this machine really has.
void hold_to(const device::CpuInfo& cpu);

}  // namespace gridquant::ops
