// The AMX kernel of ops/gram_tile.h.
#include "engine/ops/gram_amx-inl.h"

#include "engine/ops/amx_tiles.h"

namespace gridquant::ops {

#if defined(__x86_64__)

void gram_tile_amx(const Operand& x, const GramTile& tile, float* sum, Workspace& workspace) {
  gram_amx::run<AmxTiles>(x, tile, sum, workspace);
}

#else

// Never chosen where the instructions cannot exist.
void gram_tile_amx(const Operand&, const GramTile&, float*, Workspace&) {}

#endif

}  // namespace gridquant::ops
