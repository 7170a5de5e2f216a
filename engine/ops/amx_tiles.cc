#include "engine/ops/amx_tiles.h"

#if defined(__x86_64__)

#include <sys/syscall.h>
#include <unistd.h>

namespace gridquant::ops {
namespace {

// What the TILECFG register is loaded from: eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

constexpr TileConfig kConfig;

}  // namespace

// Linux gives a process the tiles' state when it asks for it (arch_prctl(2), ARCH_REQ_XCOMP_PERM; 18: tile data).
bool amx_is_permitted() {
  constexpr int kRequestPermission = 0x1023;
  constexpr int kTileData = 18;
  static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return permitted;
}

AmxTiles::Scope::Scope() {
  asm volatile("ldtilecfg %0" ::"m"(kConfig));
}

}  // namespace gridquant::ops

#else

namespace gridquant::ops {

bool amx_is_permitted() {
  return false;
}

}  // namespace gridquant::ops

#endif
