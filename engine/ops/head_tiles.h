// How attention wants its operands. Tokens are cut into tiles of kTileTokens; the queries of all heads that share one
// key/value head and one tile lie together, so that one product takes them against that head's keys.
//
// A matrix of [heads * tokens, head_dim] rows: for each key/value head, for each tile, for each of the `group` heads,
// the tile's tokens. With group = 1 (keys and values) that is simply [kv_heads, tokens].
#pragma once

#include <algorithm>
#include <cstdint>

namespace gridquant::ops {

constexpr int64_t kTileTokens = 64;

// The row of (head, token) in a matrix of heads * tokens rows.
inline int64_t head_row(int64_t group, int64_t tokens, int64_t head, int64_t token) {
  const int64_t tile_begin = token / kTileTokens * kTileTokens;
  const int64_t tile_rows = std::min(kTileTokens, tokens - tile_begin);
  return (head / group) * group * tokens + tile_begin * group + (head % group) * tile_rows + (token - tile_begin);
}

}  // namespace gridquant::ops
