// engine/ops/amx_tiles.h in plain C++, for tests of kernels over tiles on CPUs that have none.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace gridquant::ops {

struct EmulatedTiles {
  static constexpr int kTiles = 8, kRows = 16, kWords = 16;
  using Tile = std::array<std::array<uint32_t, kWords>, kRows>;
  inline static std::array<Tile, kTiles> tiles;
  inline static bool configured = false;

  struct Scope {
    Scope() { configured = true; }
    ~Scope() { configured = false; }
  };

  template <int kTile>
  static void zero() {
    tiles.at(configured ? kTile : kTiles) = {};
  }
  template <int kTile>
  static void load(const void* from, int64_t stride) {
    for (size_t r = 0; r < kRows; ++r) {
      std::memcpy(tiles.at(configured ? kTile : kTiles)[r].data(),
                  static_cast<const std::byte*>(from) + static_cast<int64_t>(r) * stride, sizeof(tiles[0][0]));
    }
  }
  template <int kTile>
  static void store(void* to, int64_t stride) {
    for (size_t r = 0; r < kRows; ++r) {
      std::memcpy(static_cast<std::byte*>(to) + static_cast<int64_t>(r) * stride, tiles[kTile][r].data(),
                  sizeof(tiles[0][0]));
    }
  }
  template <int kSum, int kLeft, int kRight>
  static void multiply_add() {
    const auto low = [](uint32_t pair) { return std::bit_cast<float>(pair << 16); };
    const auto high = [](uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); };
    for (size_t m = 0; m < kRows; ++m) {
      for (size_t n = 0; n < kWords; ++n) {
        auto sum = std::bit_cast<float>(tiles[kSum][m][n]);
        for (size_t p = 0; p < kWords; ++p) {
          const uint32_t left = tiles[kLeft][m][p], right = tiles[kRight][p][n];
          sum += low(left) * low(right);
          sum += high(left) * high(right);
        }
        tiles[kSum][m][n] = std::bit_cast<uint32_t>(sum);
      }
    }
  }
};

}  // namespace gridquant::ops
