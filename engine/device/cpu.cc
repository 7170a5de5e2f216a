// Processor detection. A feature counts only when the operating system saves its registers too. Not for choosing the
// vector width of our own kernels: Highway does that by itself.
#include "engine/device/cpu.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gridquant::device {
namespace {

#if defined(__x86_64__)
uint64_t enabled_register_state() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return 0;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

void detect_features(CpuInfo& info) {
  constexpr uint64_t kAvxState = 0x6, kAvx512State = 0xe6, kAmxState = 0x60000;
  constexpr unsigned kLeaf7Avx512Bf16 = 1u << 5, kLeaf7AmxBf16 = 1u << 22, kLeaf7AmxTile = 1u << 24;
  const uint64_t state = enabled_register_state();
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return;
  const unsigned max_subleaf = a;
  const bool fma = __builtin_cpu_supports("fma") != 0;
  info.avx2 = (state & kAvxState) == kAvxState && (b & bit_AVX2) != 0 && fma;
  constexpr unsigned kAvx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  info.avx512 = info.avx2 && (state & kAvx512State) == kAvx512State && (b & kAvx512) == kAvx512;
  const bool amx_bits = (d & kLeaf7AmxBf16) != 0 && (d & kLeaf7AmxTile) != 0;
  info.amx_bf16 = info.avx512 && amx_bits && (state & kAmxState) == kAmxState;
  if (max_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    info.avx512_bf16 = info.avx512 && (a & kLeaf7Avx512Bf16) != 0;
  }
}
#else
void detect_features(CpuInfo&) {}
#endif

std::string model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with("model name")) continue;
    return std::string(absl::StripAsciiWhitespace(absl::string_view(line).substr(colon + 1)));
  }
  return "unknown";
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

std::string CpuInfo::kind() const {
#if defined(__x86_64__)
  const char* level = amx_bf16 ? "amx_bf16" : avx512_bf16 ? "avx512_bf16" : avx512 ? "avx512" : avx2 ? "avx2" : "sse2";
  return absl::StrCat("x86-64 ", level);
#else
  return "other";
#endif
}

CpuInfo detect_cpu() {
  CpuInfo info;
  info.model = model_name();
  info.cores = usable_cores();
  detect_features(info);
  return info;
}

StatusOr<CpuInfo> cpu_within(CpuInfo cpu, const char* limit) {
  const std::string name = limit == nullptr ? "" : limit;
  if (name.empty()) return cpu;
  if (name != "avx2" && name != "avx512" && name != "avx512_bf16") {
    return absl::InvalidArgumentError(
        absl::StrCat(kMaxCpuVariable, "=", name, " is not one of avx2, avx512, avx512_bf16"));
  }
  cpu.amx_bf16 = false;
  if (name != "avx512_bf16") cpu.avx512_bf16 = false;
  if (name == "avx2") cpu.avx512 = false;
  return cpu;
}

StatusOr<Compute> resolve_compute(const std::string& name, const CpuInfo& cpu) {
  if (name == "auto") return cpu.has_bf16_products() ? Compute::kBF16 : Compute::kF32;
  if (name == "fp32") return Compute::kF32;
  if (name == "bf16") return Compute::kBF16;
  return absl::InvalidArgumentError(absl::StrCat("compute: '", name, "' is not one of auto, fp32, bf16"));
}

const char* name_of(Compute compute) {
  return compute == Compute::kBF16 ? "bf16" : "fp32";
}

}  // namespace gridquant::device
