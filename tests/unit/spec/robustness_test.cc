// Damaged and hostile files: every one gives a pipeline or diagnostics, in bounded time and memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/spec/support.h"

namespace gridquant::spec {
namespace {

using testing::ElementsAre;

// What must hold for any bytes; returns the result for more.
ParseResult survive(const std::string& text) {
  ParseResult result = parse_pipeline(text, test_options());
  EXPECT_EQ(result.pipeline.has_value(), result.diagnostics.empty());
  for (size_t i = 0; i < result.diagnostics.size(); ++i) {
    const Diagnostic& diagnostic = result.diagnostics[i];
    EXPECT_GE(diagnostic.line, 1);
    EXPECT_GE(diagnostic.column, 1);
    EXPECT_GE(diagnostic.length, 1);
    EXPECT_FALSE(diagnostic.message.empty());
    if (i == 0) continue;
    const Diagnostic& before = result.diagnostics[i - 1];
    EXPECT_LE(std::tie(before.line, before.column), std::tie(diagnostic.line, diagnostic.column));
  }
  if (result.diagnostics.size() < 100) render_text(result.diagnostics, text, true);
  render_json(result.diagnostics);
  return result;
}

TEST(Robustness, SurvivesTruncationAtEveryByte) {
  const std::string text = read_source_file("tests/golden/spec/good_full.yaml");
  ASSERT_GT(text.size(), 1000u);
  for (size_t size = 0; size < text.size(); ++size) survive(text.substr(0, size));
}

TEST(Robustness, SurvivesDamagedBytes) {
  const std::string text = read_source_file("tests/golden/spec/good_matrix.yaml");
  uint64_t state = 42;
  const auto random = [&](uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % below;
  };
  const std::string likely = "{}[]:,-#&*!|>'\"%@` \n\t$()=<>0aA~?";
  for (int round = 0; round < 1500; ++round) {
    std::string damaged = text;
    for (uint64_t flips = 1 + random(4); flips > 0; --flips) {
      const size_t at = random(damaged.size());
      damaged[at] = random(4) == 0 ? static_cast<char>(random(256)) : likely[random(likely.size())];
    }
    survive(damaged);
  }
}

TEST(Robustness, SurvivesCutAndPaste) {
  const std::string text = read_source_file("tests/golden/spec/expressions.yaml");
  uint64_t state = 7;
  const auto random = [&](uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 500; ++round) {
    std::string mixed = text;
    const std::string piece = text.substr(random(text.size()), random(80));
    mixed.insert(random(mixed.size()), piece);
    mixed.erase(random(mixed.size()), random(40));
    survive(mixed);
  }
}

TEST(Robustness, BoundsNesting) {
  EXPECT_THAT(codes_of(survive(std::string(200'000, '['))), ElementsAre("GQ0007"));
  EXPECT_THAT(codes_of(survive(std::string(200'000, '{'))), ElementsAre("GQ0007"));
  std::string block;
  for (int i = 0; i < 300; ++i) block += std::string(i, ' ') + "a:\n";
  EXPECT_THAT(codes_of(survive(block)), ElementsAre("GQ0007"));
}

TEST(Robustness, BoundsAliases) {
  std::string text = "a0: &a0 [x, x]\n";
  for (int i = 1; i <= 25; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + ", " + before + "]\n";
  }
  EXPECT_THAT(codes_of(survive(text)), ElementsAre("GQ0007"));
  survive("a: &a [*a]\n");
  survive("&a a: *a\n");
  // One list of data sets, used by thousands of stages: fine, and no more than its size times its uses.
  std::string shared = "  stages:\n    s0: &s {uses: analyze, with: {model: m}}\n";
  for (int i = 1; i < 3000; ++i) shared += "    s" + std::to_string(i) + ": *s\n";
  EXPECT_TRUE(survive(file_with(shared)).pipeline);
}

TEST(Robustness, RefusesWhatIsNoText) {
  EXPECT_THAT(codes_of(survive(std::string("kind: \0", 7))), ElementsAre("GQ0009"));
  EXPECT_THAT(codes_of(survive("kind: \x04 x: [")), ElementsAre("GQ0009"));
  EXPECT_THAT(codes_of(survive("kind: \xff")), ElementsAre("GQ0002"));
  EXPECT_THAT(codes_of(survive(std::string("\xff\xfe"
                                           "a\0:\0",
                                           6))),
              ElementsAre("GQ0002"));
  EXPECT_THAT(codes_of(survive("kind: \"a\\0b\"")), ElementsAre("GQ0009"));
  EXPECT_THAT(codes_of(survive(std::string(5 << 20, 'a'))), ElementsAre("GQ0007"));
  EXPECT_THAT(codes_of(survive("")), ElementsAre("GQ0006"));
  EXPECT_THAT(codes_of(survive("\n\n---\n")), ElementsAre("GQ0006"));
}

TEST(Robustness, AByteOrderMarkIsNoError) {
  const std::string text = file_with("  stages: {a: {uses: analyse}}\n");
  const ParseResult with = survive("\xEF\xBB\xBF" + text);
  ASSERT_EQ(with.diagnostics.size(), 1u);
  EXPECT_EQ(with.diagnostics[0].column, survive(text).diagnostics.at(0).column);
  EXPECT_EQ(survive("\xEF\xBB\xBFkinds: a").diagnostics.at(0).column, 1);
}

TEST(Robustness, BoundsDiagnosticsAndSuggestions) {
  std::string text = "  stages:\n";
  for (int i = 0; i < 9000; ++i) {
    const std::string n = std::to_string(i);
    text += "    stage-number-" + n + ": {uses: analyze, needs: [stagenumber-" + n + "x], wit: {}}\n";
  }
  const ParseResult result = survive(file_with(text));
  EXPECT_EQ(result.diagnostics.size(), 10'000u);
}

TEST(Robustness, AnHourglassOfMatricesIsBounded) {
  std::string values;
  for (int i = 0; i < 256; ++i) values += (i == 0 ? "" : ", ") + std::to_string(i);
  std::string text = "  stages:\n    s0: {uses: analyze, matrix: {x0: [" + values + "]}, with: {model: m}}\n";
  for (int i = 1; i < 12; ++i) {
    const std::string n = std::to_string(i);
    text += "    s" + n + ": {uses: analyze, needs: s" + std::to_string(i - 1) + ", matrix: {x" + n + ": [" + values +
            "]}, with: {model: m}, if: \"stages.s0-0.state == 'failed'\"}\n";
  }
  EXPECT_TRUE(survive(file_with(text)).pipeline);
}

}  // namespace
}  // namespace gridquant::spec
