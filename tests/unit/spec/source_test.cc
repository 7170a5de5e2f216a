// Positions, and how diagnostics look.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/spec/source.h"
#include "tests/unit/spec/support.h"

namespace gridquant::spec {
namespace {

using testing::HasSubstr;

TEST(Source, CountsCharactersNotBytes) {
  const SourceText source("가나 x\nab\r\n끝");
  const Position x = source.position_of(7, 1);
  EXPECT_EQ(x.line, 1);
  EXPECT_EQ(x.column, 4);
  EXPECT_EQ(source.position_of(3, 100).length, 3) << "not beyond the line";
  EXPECT_EQ(source.position_of(0, 6).length, 2);
  EXPECT_EQ(source.line(2), "ab");
  EXPECT_EQ(source.line(3), "끝");
  EXPECT_EQ(source.line(4), "");
  EXPECT_EQ(source.position_of(1000, 1).line, 3);
}

TEST(Source, FindsBrokenUtf8) {
  EXPECT_EQ(first_invalid_utf8("abc 가 😀"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("ab\xff"), 2u);
  EXPECT_EQ(first_invalid_utf8("\xed\xa0\x80"), 0u) << "surrogate";
  EXPECT_EQ(first_invalid_utf8("a\xc0\x80"), 1u) << "overlong";
  EXPECT_EQ(first_invalid_utf8("\xf4\x90\x80\x80"), 0u) << "beyond Unicode";
  EXPECT_EQ(first_invalid_utf8("x\xea\xb0"), 1u) << "cut off";
  EXPECT_EQ(first_control_character("a\tb\r\n"), std::nullopt);
  EXPECT_EQ(first_control_character(std::string_view("a\0b", 3)), 1u);
  EXPECT_EQ(first_control_character("ab\x04"), 2u);
}

TEST(Source, ShortensForMessages) {
  EXPECT_EQ(shorten("abc"), "abc");
  EXPECT_EQ(shorten("가나다라", 2), "가나...");
  EXPECT_EQ(shorten("a\nb"), "a b");
  EXPECT_EQ(display_width("a가"), 3);
}

Diagnostic at(int line, int column, int length) {
  return {.code = "GQ0103",
          .file = "f.yaml",
          .line = line,
          .column = column,
          .length = length,
          .message = "m",
          .hint = "h"};
}

TEST(Render, PutsTheCaretUnderTheCharacters) {
  EXPECT_EQ(render_text({at(2, 3, 4)}, "a\nb need: 1\n", false),
            "f.yaml:2:3: error[GQ0103]: m\n   2 | b need: 1\n     |   ^~~~\n  hint: h\n");
  EXPECT_THAT(render_text({at(1, 3, 2)}, "가 나다", false), HasSubstr("   1 | 가 나다\n     |    ^~~~\n"));
  EXPECT_THAT(render_text({at(1, 2, 1)}, "\tx", false), HasSubstr("\n     | \t^\n"));
  EXPECT_THAT(render_text({at(1, 1, 1)}, "x", true), HasSubstr("\033[1;31m"));
}

TEST(Render, SurvivesAnyPosition) {
  for (const int line : {-1, 0, 1, 2, 1000}) {
    for (const int column : {-5, 0, 1, 3, 1'000'000}) {
      EXPECT_THAT(render_text({at(line, column, 1'000'000)}, "ab\nc", false), HasSubstr("error[GQ0103]"));
    }
  }
}

TEST(Render, CutsLongLinesAroundTheColumn) {
  const std::string text = std::string(500'000, 'x') + "HERE" + std::string(500'000, 'y');
  const std::string shown = render_text({at(1, 500'001, 4)}, text, false);
  EXPECT_LT(shown.size(), 500u);
  EXPECT_THAT(shown, HasSubstr("xHEREy"));
  const size_t here = shown.find("HERE") - shown.rfind('\n', shown.find("HERE"));
  const size_t caret = shown.find('^') - shown.rfind('\n', shown.find('^'));
  EXPECT_EQ(here, caret);
}

TEST(Render, ShowsNothingOfAFileThatIsNoText) {
  EXPECT_EQ(render_text({at(1, 1, 1)}, std::string("\x1b[2J\xff"), false).find('\x1b'), std::string::npos);
}

TEST(Render, WritesJson) {
  const auto json = nlohmann::json::parse(render_json({at(2, 3, 4)}));
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(json[0], (nlohmann::json{{"file", "f.yaml"},
                                     {"line", 2},
                                     {"column", 3},
                                     {"length", 4},
                                     {"code", "GQ0103"},
                                     {"message", "m"},
                                     {"hint", "h"}}));
  EXPECT_EQ(render_json({}), "[]\n");
}

}  // namespace
}  // namespace gridquant::spec
