// Durations, sizes, scalars, names, slugs, edit distances: small rules with many edges.
#include <gtest/gtest.h>

#include "coordinator/spec/codes.h"
#include "coordinator/spec/draft.h"
#include "coordinator/spec/scalars.h"
#include "coordinator/spec/sink.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

TEST(Duration, IsReadInMilliseconds) {
  EXPECT_EQ(read_duration("500ms"), 500);
  EXPECT_EQ(read_duration("30s"), 30'000);
  EXPECT_EQ(read_duration("10m"), 600'000);
  EXPECT_EQ(read_duration("2h"), 7'200'000);
  EXPECT_EQ(read_duration("1h30m"), 5'400'000);
  EXPECT_EQ(read_duration("1d2h3m4s5ms"), 93'784'005);
  EXPECT_EQ(read_duration("0s"), 0);
}

TEST(Duration, ThatIsNoneIsRefused) {
  for (const char* text : {"", "30", "s", "1.5h", "-1s", "+1s", "1 s", "1s ", "30S", "30m1h", "1s1s", "1w", "1h30",
                           "99999999999999999999s", "10001d", "9223372036854775807ms"}) {
    EXPECT_FALSE(read_duration(text)) << text;
  }
}

TEST(Size, IsReadInBytes) {
  EXPECT_EQ(read_size("0"), 0);
  EXPECT_EQ(read_size("1048576"), 1 << 20);
  EXPECT_EQ(read_size("512Mi"), 512LL << 20);
  EXPECT_EQ(read_size("64Gi"), 64LL << 30);
  EXPECT_EQ(read_size("3k"), 3000);
  EXPECT_EQ(read_size("2Ti"), 2LL << 40);
  EXPECT_EQ(read_size("1G"), 1'000'000'000);
  for (const char* text : {"", "Gi", "64GB", "64gi", "1.5Gi", "-1Gi", "64 Gi", "9999999999Ti", "1Kii"}) {
    EXPECT_FALSE(read_size(text)) << text;
  }
}

TEST(Scalar, IsReadByYaml12Rules) {
  EXPECT_EQ(read_scalar("4", false), 4);
  EXPECT_EQ(read_scalar("-4", false), -4);
  EXPECT_EQ(read_scalar("4", true), "4");
  EXPECT_EQ(read_scalar("0.5", false), 0.5);
  EXPECT_EQ(read_scalar("1e3", false), 1000.0);
  EXPECT_EQ(read_scalar("True", false), true);
  for (const char* text : {"yes", "no", "on", "off", "y", "010", "0x10", "0o7", "1_000", "1.", ".5", "+1", "1e", "--1",
                           ".inf", ".nan", "1e999", "1:30"}) {
    EXPECT_EQ(read_scalar(text, false), text);
  }
  EXPECT_TRUE(read_scalar("9223372036854775807", false).is_number_integer());
  EXPECT_FALSE(read_scalar("9223372036854775808", false).is_number_integer());
}

TEST(Name, FollowsRfc1123) {
  for (const char* text : {"a", "0", "a-b", "a--b", "x1"}) EXPECT_TRUE(is_dns_label(text)) << text;
  for (const char* text : {"", "-a", "a-", "A", "a_b", "a.b", "가"}) EXPECT_FALSE(is_dns_label(text)) << text;
  EXPECT_TRUE(is_dns_label(std::string(63, 'a')));
  EXPECT_FALSE(is_dns_label(std::string(64, 'a')));
  for (const char* text : {"a", "groupSize", "_x", "a-b", "A1"}) EXPECT_TRUE(is_identifier(text)) << text;
  for (const char* text : {"", "1a", "-a", "a.b", "a b", "가"}) EXPECT_FALSE(is_identifier(text)) << text;
}

TEST(Slug, MakesAnyValueANamePart) {
  EXPECT_EQ(slug(4), "4");
  EXPECT_EQ(slug(-1), "minus-1");
  EXPECT_EQ(slug(0.05), "0-05");
  EXPECT_EQ(slug(true), "true");
  EXPECT_EQ(slug("gguf:Q4_K_M"), "gguf-q4-k-m");
  EXPECT_EQ(slug("--a--"), "a");
  EXPECT_EQ(slug("한글"), "");
}

TEST(EditDistance, CountsSwapsOnce) {
  EXPECT_EQ(edit_distance("needs", "needs", 3), 0);
  EXPECT_EQ(edit_distance("need", "needs", 3), 1);
  EXPECT_EQ(edit_distance("nedes", "needs", 3), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting", 3), 3);
  EXPECT_EQ(edit_distance("abc", "xyz", 2), 3);
  EXPECT_EQ(edit_distance("", "ab", 2), 2);
  EXPECT_EQ(edit_distance("a", "abcdef", 2), 3);
}

TEST(Suggestion, IsOfferedOnlyWhenNear) {
  Sink sink("f");
  const std::vector<std::string> names = {"needs", "with", "uses", "if"};
  EXPECT_EQ(sink.suggest("need", names), "did you mean 'needs'?");
  EXPECT_EQ(sink.suggest("Needs", names), "did you mean 'needs'?");
  EXPECT_EQ(sink.suggest("wiht", names), "did you mean 'with'?");
  EXPECT_EQ(sink.suggest("retry", names), "");
  EXPECT_EQ(sink.suggest("xy", names), "");
  EXPECT_EQ(sink.suggest(std::string(1'000'000, 'n'), names), "");
}

TEST(Codes, AreUniqueAscendingAndFindable) {
  int last = 0;
  for (const CodeInfo& info : all_codes()) {
    EXPECT_GT(static_cast<int>(info.code), last);
    last = static_cast<int>(info.code);
    EXPECT_EQ(find_code(code_name(info.code)), &info);
    EXPECT_FALSE(info.meaning.empty());
    EXPECT_FALSE(info.remedy.empty());
  }
  EXPECT_EQ(code_name(Code::kUnknownKey), "GQ0103");
  EXPECT_EQ(find_code("gq0103")->code, Code::kUnknownKey);
  EXPECT_EQ(find_code("GQ9999"), nullptr);
  EXPECT_EQ(find_code("103"), nullptr);
}

}  // namespace
}  // namespace gridquant::spec
