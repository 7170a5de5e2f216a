// What this machine's processor can do, and what follows from it.
#pragma once

#include <string>

#include "engine/base/status.h"

namespace gridquant::device {

// How matrix products are computed. kBF16: operands rounded to bf16, fp32 accumulation.
enum class Compute { kF32, kBF16 };

struct CpuInfo {
  std::string model;        // as /proc/cpuinfo names it
  bool avx2 = false;
  bool avx512 = false;      // F, BW, DQ, VL
  bool avx512_bf16 = false;
  bool amx_bf16 = false;
  int cores = 1;            // that this process may use

  bool has_bf16_products() const { return amx_bf16 || avx512_bf16; }
  // "x86-64 avx2", "x86-64 avx512_bf16", ...: part of every stage's key, because products differ between them.
  std::string kind() const;
};

CpuInfo detect_cpu();

// The environment variable that holds a whole program to a lesser processor, for tests and measurements: "avx2",
// "avx512" or "avx512_bf16". A main reads it, asks for cpu_within, and then calls ops::hold_to.
inline constexpr const char* kMaxCpuVariable = "GRIDQUANT_MAX_CPU";

// `cpu` without what is beyond `limit`; all of it if `limit` is null or empty.
StatusOr<CpuInfo> cpu_within(CpuInfo cpu, const char* limit);

// "auto" | "fp32" | "bf16" -> what to do here: auto is bf16 exactly where the CPU has bf16 products.
StatusOr<Compute> resolve_compute(const std::string& name, const CpuInfo& cpu);
const char* name_of(Compute compute);  // "fp32", "bf16"

}  // namespace gridquant::device
