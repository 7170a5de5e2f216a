// The packer against words that are known (quantizers.md 2.1), and against the definition, element by element.
#include "tests/unit/formats/gptq_testing.h"

namespace gridquant::formats {
namespace {

using quant::GridSpec;
using quant::QuantizedWeight;
using tensor::DType;

constexpr int kAllBits[] = {2, 3, 4, 8};

// A [32, 32] weight whose every row holds code(k) at column k.
template <typename Code>
QuantizedWeight same_rows(int bits, Code code) {
  QuantizedWeight weight = random_weight({bits, true, -1}, 32, 32);
  for (int64_t i = 0; i < 32 * 32; ++i) weight.codes[i] = static_cast<uint8_t>(code(i % 32));
  return weight;
}

// Words of output 0, from the first input row on.
std::vector<uint32_t> first_column(const QuantizedWeight& weight) {
  const auto tensors = to_gptq("m", weight);
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  const tensor::Tensor& qweight = part(*tensors, "m.qweight");
  std::vector<uint32_t> words;
  for (int64_t row = 0; row < qweight.dim(0); ++row) words.push_back(qweight.as<uint32_t>()[row * qweight.dim(1)]);
  return words;
}

TEST(GptqWords, KnownAnswersOfFourBits) {
  const auto words = first_column(same_rows(4, [](int64_t k) { return k % 16; }));
  EXPECT_THAT(words, ::testing::ElementsAre(0x76543210u, 0xFEDCBA98u, 0x76543210u, 0xFEDCBA98u));
}

TEST(GptqWords, KnownAnswersOfTwoBits) {
  const auto words = first_column(same_rows(2, [](int64_t k) { return k % 4; }));
  EXPECT_THAT(words, ::testing::ElementsAre(0xE4E4E4E4u, 0xE4E4E4E4u));
}

TEST(GptqWords, KnownAnswersOfEightBits) {
  const auto words = first_column(same_rows(8, [](int64_t k) { return k; }));
  EXPECT_EQ(words[0], 0x03020100u);
  EXPECT_EQ(words[7], 0x1F1E1D1Cu);
  EXPECT_EQ(first_column(same_rows(8, [](int64_t) { return 255; }))[3], 0xFFFFFFFFu);
}

TEST(GptqWords, KnownAnswersOfThreeBits) {
  EXPECT_THAT(first_column(same_rows(3, [](int64_t k) { return k % 8; })),
              ::testing::ElementsAre(0x88FAC688u, 0xC688FAC6u, 0xFAC688FAu));
  EXPECT_THAT(first_column(same_rows(3, [](int64_t k) { return (5 * k + 3) % 8; })),
              ::testing::ElementsAre(0x43C67543u, 0x7543C675u, 0xC67543C6u));
}

TEST(GptqWords, SymmetricZeroWords) {
  const std::vector<std::vector<uint32_t>> expected = {
      {0x55555555u}, {0xDB6DB6DBu, 0xB6DB6DB6u, 0x6DB6DB6Du}, {0x77777777u}, {0x7F7F7F7Fu}};
  for (size_t i = 0; i < 4; ++i) {
    const auto tensors = to_gptq("m", random_weight({kAllBits[i], true, 32}, 64, 96));
    ASSERT_TRUE(tensors.ok());
    const auto words = words_of(part(*tensors, "m.qzeros"));
    ASSERT_EQ(words.size(), 3u * 64 * kAllBits[i] / 32);
    for (size_t w = 0; w < words.size(); ++w) EXPECT_EQ(words[w], expected[i][w % expected[i].size()]) << kAllBits[i];
  }
}

TEST(GptqWords, AsymmetricZerosAreStoredMinusOneAlongTheOutputs) {
  QuantizedWeight weight = random_weight({4, false, 32}, 32, 64);
  for (int64_t n = 0; n < 32; ++n) {
    weight.zeros[n * 2] = 1 + n % 15;       // group 0
    weight.zeros[n * 2 + 1] = 15 - n % 15;  // group 1
  }
  const auto tensors = to_gptq("m", weight);
  ASSERT_TRUE(tensors.ok());
  const tensor::Tensor& qzeros = part(*tensors, "m.qzeros");
  EXPECT_EQ(qzeros.shape(), (tensor::Shape{2, 4}));
  const auto words = words_of(qzeros);
  EXPECT_EQ(words[0], 0x76543210u);
  EXPECT_EQ(words[1], 0x0EDCBA98u);
  EXPECT_EQ(words[4], 0x789ABCDEu);
}

// Bit i of the stream is bit i % 32 of word i / 32: every code of shapes that leave tails in every tile.
TEST(GptqWords, EveryElementIsWhereTheDefinitionSays) {
  for (const int bits : kAllBits) {
    for (const auto& [rows, cols] : {std::pair{32, 32}, std::pair{96, 544}, std::pair{160, 1056}, std::pair{64, 512}}) {
      const QuantizedWeight weight = random_weight({bits, true, -1}, rows, cols);
      const auto tensors = to_gptq("m", weight);
      ASSERT_TRUE(tensors.ok());
      const tensor::Tensor& qweight = part(*tensors, "m.qweight");
      ASSERT_EQ(qweight.shape(), (tensor::Shape{cols * bits / 32, rows}));
      const auto words = qweight.as<uint32_t>();
      for (int64_t n = 0; n < rows; ++n) {
        for (int64_t k = 0; k < cols; ++k) {
          uint32_t code = 0;
          for (int bit = 0; bit < bits; ++bit) {
            const int64_t at = k * bits + bit;
            code |= (words[at / 32 * rows + n] >> (at % 32) & 1u) << bit;
          }
          ASSERT_EQ(code, weight.codes[n * cols + k]) << bits << " bits, n " << n << ", k " << k;
        }
      }
    }
  }
}

TEST(GptqTensors, HaveTheNamesShapesAndOrderOfTheFormat) {
  const QuantizedWeight weight = random_weight({4, false, 32}, 64, 96);
  const auto tensors = to_gptq("model.layers.0.mlp.up_proj", weight);
  ASSERT_TRUE(tensors.ok());
  ASSERT_EQ(tensors->size(), 4u);
  const tensor::Tensor& scales = part(*tensors, "model.layers.0.mlp.up_proj.scales");
  EXPECT_EQ(scales.dtype(), DType::kF16);
  EXPECT_EQ(scales.shape(), (tensor::Shape{3, 64}));
  for (int64_t n = 0; n < 64; ++n) {
    for (int64_t g = 0; g < 3; ++g) EXPECT_EQ(scales.as<tensor::F16>()[g * 64 + n].bits, weight.scales[n * 3 + g].bits);
  }
  const tensor::Tensor& g_idx = part(*tensors, "model.layers.0.mlp.up_proj.g_idx");
  EXPECT_EQ(g_idx.dtype(), DType::kI32);
  for (int32_t k = 0; k < 96; ++k) EXPECT_EQ(g_idx.as<int32_t>()[k], k / 32);
}

TEST(GptqTensors, AWholeRowIsOneGroup) {
  const auto tensors = to_gptq("m", random_weight({8, true, -1}, 32, 64));
  ASSERT_TRUE(tensors.ok());
  EXPECT_EQ(part(*tensors, "m.scales").shape(), (tensor::Shape{1, 32}));
  for (const int32_t group : part(*tensors, "m.g_idx").as<int32_t>()) EXPECT_EQ(group, 0);
}

TEST(GptqTensors, AShortLastGroupIsAGroup) {
  const auto tensors = to_gptq("m", random_weight({4, true, 64}, 32, 96));
  ASSERT_TRUE(tensors.ok());
  EXPECT_EQ(part(*tensors, "m.scales").shape(), (tensor::Shape{2, 32}));
  EXPECT_EQ(part(*tensors, "m.g_idx").as<int32_t>()[64], 1);
}

TEST(GptqTensors, EntriesForecastThem) {
  for (const int bits : kAllBits) {
    for (const int64_t group : {int64_t{32}, int64_t{64}, int64_t{-1}}) {
      const GridSpec grid{bits, false, group};
      const auto tensors = to_gptq("m", random_weight(grid, 64, 192));
      const auto entries = gptq_entries("m", grid, 64, 192);
      ASSERT_TRUE(tensors.ok());
      ASSERT_EQ(entries.size(), tensors->size());
      for (size_t i = 0; i < entries.size(); ++i) {
        EXPECT_EQ(entries[i].first, (*tensors)[i].name);
        EXPECT_EQ(entries[i].second.dtype, (*tensors)[i].tensor.dtype());
        EXPECT_EQ(entries[i].second.shape, (*tensors)[i].tensor.shape());
        EXPECT_EQ(entries[i].second.bytes, (*tensors)[i].tensor.bytes());
      }
    }
  }
}

TEST(GptqRefuses, ShapesAndBitsTheContainerHasNot) {
  for (const auto& [rows, cols] : {std::pair{33, 64}, std::pair{64, 48}, std::pair{0, 32}}) {
    const Status status = to_gptq("blk.q", random_weight({4, true, -1}, rows, cols)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    expect_message(status, {"blk.q", "multiples of 32"});
  }
  QuantizedWeight weight = random_weight({4, true, 32}, 32, 32);
  weight.grid.bits = 5;
  expect_message(to_gptq("blk.q", weight).status(), {"blk.q", "no 5-bit form", "2, 3, 4 or 8"});
}

TEST(GptqRefuses, ValuesThatCannotBeStored) {
  const QuantizedWeight good = random_weight({3, false, 32}, 32, 64);
  QuantizedWeight weight = good;
  weight.zeros[5] = 0;
  expect_message(to_gptq("m", weight).status(), {"zero point 0 cannot be stored"});
  weight.zeros[5] = 8;
  expect_message(to_gptq("m", weight).status(), {"zero point 8 cannot be stored"});
  weight = good;
  weight.codes.back() = 8;
  expect_message(to_gptq("m", weight).status(), {"a code does not fit into 3 bits"});
  weight = good;
  weight.scales[3].bits = 0x7c00;
  expect_message(to_gptq("m", weight).status(), {"a scale is not a finite number"});
  weight = good;
  weight.codes.pop_back();
  expect_message(to_gptq("m", weight).status(), {"do not have the weight's size"});
  weight = random_weight({4, true, 32}, 32, 64);
  weight.zeros[0] = 7;
  expect_message(to_gptq("m", weight).status(), {"zero point 7 on a symmetric grid"});
}

}  // namespace
}  // namespace gridquant::formats
