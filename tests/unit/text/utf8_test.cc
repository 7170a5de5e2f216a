// UTF-8 at its edges, and the byte-level alphabet.
#include "engine/text/utf8.h"

#include "engine/text/byte_level.h"
#include "gtest/gtest.h"

namespace gridquant::text {
namespace {

TEST(Utf8, EveryCodePointSurvivesAndIsValid) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "a";
    append_utf8(text, c);
    text += "\xEA\xB0\x80";
    ASSERT_EQ(first_invalid_utf8(text), kAllValid) << static_cast<uint32_t>(c);
    ASSERT_EQ(code_point_at(text, 1).value, c);
    ASSERT_EQ(code_point_before(text, text.size() - 3).value, c);
    ASSERT_EQ(code_point_at(text, 1).bytes, text.size() - 4);
  }
}

TEST(Utf8, FindsTheFirstBadByte) {
  const std::string eight = "12345678";
  EXPECT_EQ(first_invalid_utf8(""), kAllValid);
  EXPECT_EQ(first_invalid_utf8(eight + "\x80"), 8u);
  EXPECT_EQ(first_invalid_utf8(eight + "abc\xFF" + "defghijk"), 11u);
  EXPECT_EQ(first_invalid_utf8("\xC0\x80"), 0u);  // overlong
  EXPECT_EQ(first_invalid_utf8("\xC1\xBF"), 0u);
  EXPECT_EQ(first_invalid_utf8("\xE0\x9F\xBF"), 0u);      // overlong
  EXPECT_EQ(first_invalid_utf8("a\xED\xA0\x80"), 1u);     // surrogate
  EXPECT_EQ(first_invalid_utf8("\xF0\x8F\xBF\xBF"), 0u);  // overlong
  EXPECT_EQ(first_invalid_utf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(first_invalid_utf8("\xF5\x80\x80\x80"), 0u);
  EXPECT_EQ(first_invalid_utf8("ab\xEA\xB0"), 2u);  // cut short
  EXPECT_EQ(first_invalid_utf8("ab\xEA\xB0"
                               "cd"),
            2u);
}

TEST(Utf8, ReplacesMaximalPartsLikeRust) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(with_replacements("plain \xEA\xB0\x80"), "plain \xEA\xB0\x80");
  EXPECT_EQ(with_replacements("a\xEA\xB0"
                              "b"),
            "a" + mark + "b");  // one mark for two bytes that belong together
  EXPECT_EQ(with_replacements("\xEA\xB0"), mark);
  EXPECT_EQ(with_replacements("\xED\xA0\x80"), mark + mark + mark);  // surrogate: none belong together
  EXPECT_EQ(with_replacements("\xF0\x9F\x98"
                              "\xF0\x9F\x98\x80"),
            mark + "\xF0\x9F\x98\x80");
  EXPECT_EQ(with_replacements("\xC0\xAF\xFF"), mark + mark + mark);
}

TEST(ByteLevel, TheAlphabetCoversEveryByteOnce) {
  std::string seen;
  for (char32_t c = 0; c < 0x200; ++c) {
    std::string text;
    append_utf8(text, c);
    const auto bytes = bytes_of_byte_level(text);
    if (bytes.has_value()) seen += *bytes;
  }
  std::sort(seen.begin(), seen.end(), [](char a, char b) { return static_cast<uint8_t>(a) < static_cast<uint8_t>(b); });
  ASSERT_EQ(seen.size(), 256u);
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(static_cast<uint8_t>(seen[i]), i);
}

TEST(ByteLevel, KnowsTheUsualStandIns) {
  EXPECT_EQ(bytes_of_byte_level("\xC4\xA0the\xC4\x8A"), " the\n");  // U+0120, U+010A
  EXPECT_EQ(bytes_of_byte_level(""), "");
  EXPECT_FALSE(bytes_of_byte_level(" ").has_value());
  EXPECT_FALSE(bytes_of_byte_level("\xEA\xB0\x80").has_value());
}

}  // namespace
}  // namespace gridquant::text
