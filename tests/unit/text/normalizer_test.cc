// Cutting the text for NFC must not change what NFC gives: beside utf8proc on the whole text, on random mixtures.
#include "engine/text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/text/utf8.h"
#include "gtest/gtest.h"

namespace gridquant::text {
namespace {

std::string whole_nfc(const std::string& text) {
  utf8proc_uint8_t* raw = nullptr;
  const auto bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &raw, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string out(reinterpret_cast<const char*>(raw), static_cast<size_t>(bytes));
  std::free(raw);
  return out;
}

Normalizer nfc() {
  const std::string file = "t.json";
  const nlohmann::json document = {{"type", "NFC"}};
  auto normalizer = Normalizer::parse(JsonNode(file, document, "/normalizer"));
  EXPECT_TRUE(normalizer.ok());
  return *normalizer;
}

TEST(Normalizer, CuttingChangesNothing) {
  const Normalizer normalizer = nfc();
  // Letters, marks of several classes, jamo and syllables, compositions with a first half of their own.
  constexpr char32_t kPool[] = {'a',    'e',    ' ',    0xE9,   0x300,  0x301,   0x323,  0x327,  0x338,
                                0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01, 0xD7A3,  0x915,  0x93C,  0x958,
                                0x212B, 0x2126, 0x340,  0x344,  0x9C7,  0x9BE,   0x3099, 0x304B, 0x304C,
                                0x0,    0x1E0A, 0x110A, 0xF900, 0x2ADC, 0x1D15E, 0x415,  0x308,  0x1F600,
                                0x200D, 0xFF21, 0x3000, 0x2000, 0xFEFF, 0x4E00,  0xFB1D};
  std::mt19937 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) append_utf8(text, kPool[random() % std::size(kPool)]);
    std::deque<std::string> buffers;
    const auto normalized = normalizer.apply(text, buffers);
    ASSERT_TRUE(normalized.ok());
    ASSERT_EQ(std::string(*normalized), whole_nfc(text)) << round;
  }
}

TEST(Normalizer, EveryCodePointAloneAndBehindALetter) {
  const Normalizer normalizer = nfc();
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "a";
    append_utf8(text, c);
    append_utf8(text, c);
    std::deque<std::string> buffers;
    const auto normalized = normalizer.apply(text, buffers);
    ASSERT_TRUE(normalized.ok());
    ASSERT_EQ(std::string(*normalized), whole_nfc(text)) << static_cast<uint32_t>(c);
  }
}

TEST(Normalizer, MarksNewerThanTheLibraryStayWhereTheyAre) {
  std::deque<std::string> buffers;
  const std::string text = "a\xCD\x85\xDF\xBD\xCD\x85\xCC\xA3";  // U+07FD, class 220, between U+0345, class 240
  const auto normalized = nfc().apply(text, buffers);
  ASSERT_TRUE(normalized.ok());
  EXPECT_EQ(*normalized, "a\xCD\x85\xDF\xBD\xCC\xA3\xCD\x85");  // but U+0323 goes before U+0345
}

TEST(Normalizer, TextThatStaysIsNotCopied) {
  std::deque<std::string> buffers;
  const std::string text = "plain, \xED\x95\x9C\xEA\xB5\xAD";
  const auto normalized = nfc().apply(text, buffers);
  ASSERT_TRUE(normalized.ok());
  EXPECT_EQ(normalized->data(), text.data());
  EXPECT_TRUE(buffers.empty());
}

}  // namespace
}  // namespace gridquant::text
