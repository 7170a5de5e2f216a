// What Oniguruma and PCRE2 read differently: translated or refused.
#include "engine/text/pattern.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gridquant::text {
namespace {

std::vector<std::string> matches(const std::string& oniguruma, const std::string& text) {
  const auto translated = pcre2_from_oniguruma(oniguruma);
  EXPECT_TRUE(translated.ok()) << translated.status();
  if (!translated.ok()) return {};
  const auto pattern = Pattern::compile(*translated);
  EXPECT_TRUE(pattern.ok()) << pattern.status();
  if (!pattern.ok()) return {};
  MatchScratch scratch;
  std::vector<std::string> found;
  size_t from = 0;
  while (from < text.size()) {
    const auto match = pattern->find(text, from, scratch);
    EXPECT_TRUE(match.ok()) << match.status();
    if (!match.ok() || !match->found || match->begin == match->end) break;
    found.push_back(text.substr(match->begin, match->end - match->begin));
    from = match->end;
  }
  return found;
}

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Pattern, ReadsWhatOnigurumaReads) {
  EXPECT_THAT(matches(R"(\p{L}+)", "ab \xEA\xB0\x80x1"), ElementsAre("ab", "\xEA\xB0\x80x"));
  EXPECT_THAT(matches(R"(\p{N}{1,3})", "12345"), ElementsAre("123", "45"));
  EXPECT_THAT(matches(R"((?i:'s|'ll))", "'S 'lL 's"), ElementsAre("'S", "'lL", "'s"));
  EXPECT_THAT(matches(R"([^\s\p{L}]+)", "a-- b!1"), ElementsAre("--", "!1"));
  EXPECT_THAT(matches(R"(x(?!y)|(?<=x)y)", "xyx"), ElementsAre("y", "x"));
  EXPECT_THAT(matches(R"(a++b|\x41\u0042)", "aab AB"), ElementsAre("aab", "AB"));
  EXPECT_THAT(matches(R"([\d\-\]]+)", "a1-]2b"), ElementsAre("1-]2"));
  EXPECT_THAT(matches(R"(\w+)", "a_e\xCC\x81 b"), ElementsAre("a_e\xCC\x81", "b"));  // a mark is a word character
  EXPECT_THAT(matches(R"(^a|b$)", "ab\nab"), ElementsAre("a", "b", "a", "b"));       // ^ and $ are about lines
  EXPECT_THAT(matches(R"((?i)ab|C)", "AB c"), ElementsAre("AB", "c"));
}

TEST(Pattern, MongolianVowelSeparatorIsNoSpace) {
  EXPECT_THAT(matches(R"(\s)", "\xE1\xA0\x8E"), IsEmpty());
  EXPECT_THAT(matches(R"(\S)", "\xE1\xA0\x8E"), ElementsAre("\xE1\xA0\x8E"));
  EXPECT_THAT(matches(R"(\s+)", "\xC2\x85\xC2\xA0\xE3\x80\x80"), ElementsAre("\xC2\x85\xC2\xA0\xE3\x80\x80"));
}

TEST(Pattern, KnowsTheLettersOfUnicode16) {
  EXPECT_THAT(matches(R"(\p{L}+)", "\xF0\xB2\x8E\xAF"), ElementsAre("\xF0\xB2\x8E\xAF"));  // U+323AF, Unicode 15
  EXPECT_THAT(matches(R"([^\p{L}]+)", "\xF0\xB2\x8E\xAF"), IsEmpty());
  EXPECT_THAT(matches(R"(\P{L}+)", "\xF0\x96\xB5\x80"), IsEmpty());                              // U+16D40, Unicode 16
  EXPECT_THAT(matches(R"(\p{Han}+)", "\xE4\xB8\x80\xE3\x80\x82"), ElementsAre("\xE4\xB8\x80"));  // not U+3002
}

TEST(Pattern, RefusesWhatTheEnginesReadDifferently) {
  for (const char* pattern :
       {R"(\h)",     R"(\R)",     R"(\X)",         R"(\b)",      R"(\1)",      R"(\k<a>)", R"(\G)",    R"(\K)",
        R"(\xFF)",   R"(\x{)",    R"(\pL)",        R"(\p{Foo})", R"([\P{L}])", R"([\D])",  R"([\W])",  R"([[:alpha:]])",
        R"([a[b]])", R"([a&&b])", R"([]a])",       R"([a)",      R"(a{1,2}+)", R"(a{2}?)", R"(a{,2})", R"(a{)",
        R"((?m)a)",  R"(a(?i)b)", R"((?<name>a))", R"((?#c)a)",  R"((*FAIL))", R"(\)"}) {
    const auto translated = pcre2_from_oniguruma(pattern);
    const bool refused = !translated.ok() || !Pattern::compile(*translated).ok();
    EXPECT_TRUE(refused) << pattern << " became " << *translated;
  }
}

TEST(Pattern, SaysWhatIsNotSupportedAndWhere) {
  const Status status = pcre2_from_oniguruma(R"(abc[a&&b])").status();
  EXPECT_TRUE(absl::IsUnimplemented(status));
  EXPECT_EQ(std::string(status.message()),
            "regular expression 'abc[a&&b]': an intersection of classes at byte 5 is not supported");
  const Status broken = Pattern::compile("a(b").status();
  EXPECT_TRUE(absl::IsInvalidArgument(broken));
  EXPECT_THAT(std::string(broken.message()), testing::HasSubstr("at byte 3"));
}

TEST(Pattern, LiteralsMatchThemselves) {
  for (const std::string text : {"--", "a.b*c", "(?i)", "[x]\\d", "\xEA\xB0\x80 \n#", "{1,2}+"}) {
    const auto pattern = Pattern::compile(pattern_of_literal(text));
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    MatchScratch scratch;
    const auto match = pattern->find("zz" + text + "zz", 0, scratch);
    ASSERT_TRUE(match.ok());
    EXPECT_TRUE(match->found);
    EXPECT_EQ(match->begin, 2u);
    EXPECT_EQ(match->end, text.size() + 2);
  }
}

TEST(Pattern, EndlessBacktrackingIsAnError) {
  const auto pattern = Pattern::compile("(?:a|a)*b|(a+)+$c");
  ASSERT_TRUE(pattern.ok());
  MatchScratch scratch;
  const auto match = pattern->find(absl::StrCat(std::string(64, 'a'), "d"), 0, scratch);
  EXPECT_TRUE(absl::IsResourceExhausted(match.status())) << match.status();
}

}  // namespace
}  // namespace gridquant::text
