// Every block type, bit for bit as the gguf package dequantizes it (tests/interop/make_gguf_vectors.py).
#include "engine/formats/gguf/blocks.h"

#include <nlohmann/json.hpp>

#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(GgufBlocks, SameBitsAsTheReference) {
  const std::string path = GRIDQUANT_SOURCE_DIR "/tests/golden/gguf/blocks.json";
  const auto text = base::read_file(base::posix_env(), path);
  ASSERT_TRUE(text.ok()) << text.status();
  size_t cases = 0;
  for (const auto& c : nlohmann::json::parse(*text)) {
    for (uint32_t id = 0; id < 64; ++id) {
      const auto type = block_type_of(id);
      if (!type || layout_of(*type).name != c["type"].get<std::string>()) continue;
      ++cases;
      const std::vector<std::byte> blocks = from_hex(c["blocks"]);
      const std::vector<std::byte> expected = from_hex(c["values"]);
      EXPECT_EQ(blocks.size() % static_cast<size_t>(layout_of(*type).bytes), 0u);
      std::vector<float> values(expected.size() / sizeof(float));
      dequantize_blocks(*type, blocks, values);
      for (size_t i = 0; i < values.size(); ++i) {
        uint32_t bits = 0;
        std::memcpy(&bits, expected.data() + 4 * i, 4);
        ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), bits) << c["type"] << " element " << i;
      }
    }
  }
  EXPECT_EQ(cases, 10u);
}

TEST(GgufBlocks, PlainFloats) {
  const float f32[] = {1.5f, -2.0f};
  const uint16_t bf16[] = {0x3fc0, 0xc000};
  const uint16_t f16[] = {0x3e00, 0xc000};
  std::vector<float> values(2);
  dequantize_blocks(BlockType::kF32, std::as_bytes(std::span(f32)), values);
  EXPECT_THAT(values, ::testing::ElementsAre(1.5f, -2.0f));
  dequantize_blocks(BlockType::kBF16, std::as_bytes(std::span(bf16)), values);
  EXPECT_THAT(values, ::testing::ElementsAre(1.5f, -2.0f));
  dequantize_blocks(BlockType::kF16, std::as_bytes(std::span(f16)), values);
  EXPECT_THAT(values, ::testing::ElementsAre(1.5f, -2.0f));
}

}  // namespace
}  // namespace gridquant::formats
