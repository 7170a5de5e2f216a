// Inside engine/ops only: the AMX unit's eight tiles of 16 rows of 64 bytes, one instruction per function. Kernels over
// tiles take this as a template parameter, so that a test can run them on any CPU (tests/unit/ops/emulated_tiles.h).
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, TILELOADD, TILESTORED, TDPBF16PS.
#pragma once

#include <cstdint>

namespace gridquant::ops {

// Asks the operating system, once: it may keep the tiles' state from a process.
bool amx_is_permitted();

#if defined(__x86_64__)

// The strides are in bytes. The compiler knows nothing of tiles: it uses none itself.
struct AmxTiles {
  // While alive, this thread's tiles are configured. The library loads its own configuration at every call.
  class Scope {
   public:
    Scope();
    ~Scope() { asm volatile("tilerelease"); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  static void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  // sum[m][n] += the sum over pairs p of left[m][p] * right[p][n], of which each holds two bf16 that are multiplied one
  // by one: 16 x 16 fp32 sums over 32 indices.
  template <int kSum, int kLeft, int kRight>
  static void multiply_add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kLeft), "i"(kRight));
  }
};

#endif

}  // namespace gridquant::ops
