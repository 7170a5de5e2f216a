// Element types of GGUF tensors and their values: plain floats, and the block types of ggml (ggml-common.h, and
// ggml-quants.c's dequantize_row_*). Values are the same bits as ggml's: fp32 arithmetic in its order, no contraction.
// Not here: making blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace gridquant::formats {

enum class BlockType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K
};

struct BlockLayout {
  std::string_view name;  // as ggml spells it: "Q4_K"
  uint32_t ggml_id = 0;   // in the file
  int64_t elements = 1;   // of a block
  int64_t bytes = 0;      // of a block
};

const BlockLayout& layout_of(BlockType type);
std::optional<BlockType> block_type_of(uint32_t ggml_id);  // nothing for a type that is not read

// `from` holds whole blocks, `to` their elements. Thread-safe.
void dequantize_blocks(BlockType type, std::span<const std::byte> from, std::span<float> to);

}  // namespace gridquant::formats
