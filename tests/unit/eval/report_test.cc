// The report's page and summary: what they say, that nothing from the JSON can break out of the page, and that odd or
// missing sections leave the rest standing.
#include "engine/eval/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/eval/chart_js.h"
#include "engine/eval/report_charts.h"
#include "engine/eval/report_facts.h"

namespace gridquant::eval {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

json language(double increase, double kl) {
  return {{"sequences", 4},
          {"tokens", 2044},
          {"perplexity_original", 10.0},
          {"perplexity_quantized", 10.0 * (1 + increase)},
          {"perplexity_increase", increase},
          {"kl_mean", kl},
          {"kl_max", 3 * kl},
          {"top1_agreement", 0.953}};
}

json full_report() {
  json report = {
      {"format", 1},
      {"run", "quickstart"},
      {"pipeline", "quickstart"},
      {"created", "2026-11-22T10:40:00Z"},
      {"output", "out/quickstart"},
      {"params", {{"bits", 4}}},
      {"model", {{"architecture", "LlamaForCausalLM"}, {"parameters", 7650304}, {"bytes", 15300608}}},
      {"plan",
       {{"solver", "gptq"},
        {"bits", 4},
        {"symmetric", true},
        {"group_size", 128},
        {"quantized_tensors", 28},
        {"bits_per_weight", 4.25},
        {"kept", {{{"tensor", "model.embed_tokens.weight"}, {"reason", "embedding"}}}}}},
      {"quantize",
       {{"bytes", 5242880},
        {"original_bytes", 15728640},
        {"forecast_bytes", 5242000},
        {"blocks", 4},
        {"resumed_blocks", 0},
        {"phases", {{"read", 0.1}, {"solve", 0.7}}},
        {"peak_rss_bytes", 104857600},
        {"layers",
         {{{"block", 0}, {"tensor", "model.layers.0.self_attn.q_proj.weight"}, {"relative_error", 0.01}},
          {{"block", 1}, {"tensor", "model.layers.1.self_attn.q_proj.weight"}, {"relative_error", 0.02}}}}}},
      {"stages",
       {{{"name", "quantize"}, {"state", "succeeded"}, {"seconds", 75.4}, {"attempts", 2}, {"cached", false}},
        {{"name", "plan"}, {"state", "succeeded"}, {"seconds", 0.5}, {"attempts", 1}, {"cached", true}}}},
      {"warnings", {"calibration text is short"}}};
  report["validate"]["languages"] = {{"en", language(0.028, 0.0161)}, {"ko", language(0.041, 0.0213)}};
  report["validate"]["blocks"] = {{{"block", 0}, {"relative_error", {{"en", 0.01}, {"ko", 0.012}}}}};
  return report;
}

json with_languages(const json& english, const json& korean) {
  return {{"format", 1}, {"validate", {{"languages", {{"en", english}, {"ko", korean}}}}}};
}

TEST(Headline, SaysYesWhenBothMeasuresSayIt) {
  const std::string said = headline(with_languages(language(0.028, 0.0161), language(0.041, 0.0213)));
  EXPECT_THAT(said, StartsWith("Yes: quantization hurts Korean more than English"));
  EXPECT_THAT(said, HasSubstr("0.0213 against 0.0161 nats per token (1.32 times)"));
  EXPECT_THAT(said, HasSubstr("+4.1 % against +2.8 %"));
  EXPECT_THAT(said, HasSubstr("2,044 Korean and 2,044 English tokens"));
}

TEST(Headline, SaysNoWhenEnglishIsHurtMore) {
  EXPECT_THAT(headline(with_languages(language(0.05, 0.03), language(0.01, 0.01))),
              StartsWith("No: quantization hurts Korean less than English"));
}

TEST(Headline, DoesNotDecideWhatTheNumbersDoNot) {
  EXPECT_THAT(headline(with_languages(language(0.0300, 0.0200), language(0.0310, 0.0210))),
              StartsWith("No clear difference"));
  EXPECT_THAT(headline(with_languages(language(0.05, 0.02), language(0.01, 0.04))),
              StartsWith("The measures disagree"));
  EXPECT_THAT(headline(with_languages(language(0, 0), language(0, 0))), StartsWith("No clear difference"));
  EXPECT_THAT(headline(with_languages(language(0, 0), language(0.01, 0.02))), StartsWith("Yes"));
}

TEST(Headline, OneMeasureMayBeATie) {
  EXPECT_THAT(headline(with_languages(language(0.0035, 0.0042), language(0.0041, 0.0032))),
              StartsWith("No: quantization hurts Korean less than English by KL, and about as much by perplexity: "));
  EXPECT_THAT(headline(with_languages(language(0.0035, 0.0032), language(0.0041, 0.0042))),
              StartsWith("Yes: quantization hurts Korean more than English by KL, and about as much"));
  EXPECT_THAT(headline(with_languages(language(0.03, 0.02), language(0.05, 0.021))),
              StartsWith("Yes: quantization hurts Korean more than English by perplexity, and"));
}

TEST(Headline, OneLanguageOrNone) {
  EXPECT_EQ(headline({{"format", 1}}), "");
  const json one = {{"format", 1}, {"validate", {{"languages", {{"de", language(0.01, 0.02)}}}}}};
  EXPECT_THAT(headline(one), StartsWith("Only de was measured"));
}

TEST(Html, HoldsTheNumbersAndTheChartLibrary) {
  const auto html = render_html(full_report(), std::string(chart_js()));
  ASSERT_TRUE(html.ok()) << html.status();
  EXPECT_THAT(*html, StartsWith("<!doctype html>"));
  for (const char* expected :
       {"Yes: quantization hurts Korean", "15.0 MiB → 5.00 MiB", "1 min 15 s", "calibration text is short",
        "model.embed_tokens.weight", "95.3 %", "id=\"block-error\"", "id=\"layer-error\"", "id=\"size\"",
        "id=\"stage-time\"", "id=\"phase-time\"", "id=\"perplexity\"", "reused"}) {
    EXPECT_THAT(*html, HasSubstr(expected));
  }
  EXPECT_GT(chart_js().size(), 100'000u);
  EXPECT_THAT(*html, HasSubstr(std::string(chart_js().substr(0, 200))));
  for (const char* elsewhere : {"<script src", "<link", "@import", "url("})
    EXPECT_THAT(*html, Not(HasSubstr(elsewhere)));
}

TEST(Html, EscapesEverythingThatTheReportSays) {
  const std::string evil = "</script><script>alert('x')</script>&\"";
  json report = full_report();
  report["run"] = evil;
  report["pipeline"] = evil;
  report["warnings"] = {evil};
  report["params"] = {{evil, evil}};
  report["model"]["architecture"] = evil;
  report["plan"]["solver"] = evil;
  report["plan"]["kept"] = {{{"tensor", evil}, {"reason", evil}}};
  report["quantize"]["phases"] = {{evil, 1.0}};
  report["quantize"]["layers"] = {{{"block", 0}, {"tensor", evil}, {"relative_error", 0.1}}};
  report["stages"][0]["name"] = evil;
  report["validate"]["languages"][evil] = language(0.1, 0.1);
  report["validate"]["blocks"] = {{{"block", 0}, {"relative_error", {{evil, 0.01}}}}};
  const auto html = render_html(report, "/* charts */");
  ASSERT_TRUE(html.ok()) << html.status();
  EXPECT_THAT(*html, Not(HasSubstr("alert('x')<")));
  EXPECT_THAT(*html, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(*html, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)"));
  EXPECT_THAT(*html, HasSubstr("\\u003c/script>\\u003cscript>alert"));
}

TEST(Html, BytesThatAreNotUtf8DoNotThrow) {
  json report = full_report();
  report["quantize"]["phases"] = {{"a\xff", 1.0}};
  report["params"] = {{"p", {"\xfe"}}};
  EXPECT_TRUE(render_html(report, "").ok());
}

TEST(Html, EverySectionMayBeAbsentOrOfAnotherType) {
  const json whole = full_report();
  for (const auto& [key, value] : whole.items()) {
    if (key == "format") continue;
    for (const json& instead :
         {json(nullptr), json(7), json("text"), json::array({1, "x", nullptr}), json::object({{"languages", 3}})}) {
      json report = whole;
      report[key] = instead;
      EXPECT_TRUE(render_html(report, "").ok()) << key;
      EXPECT_NE(render_summary(report, false), "") << key;
    }
    json report = whole;
    report.erase(key);
    EXPECT_TRUE(render_html(report, "").ok()) << key;
  }
  const auto least = render_html({{"format", 1}}, "");
  ASSERT_TRUE(least.ok());
  EXPECT_THAT(*least, Not(HasSubstr("<section")));
}

TEST(Html, RefusesWhatItCannotRender) {
  EXPECT_EQ(render_html({{"format", 2}}, "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(render_html(json::array(), "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(render_html({{"format", 1}}, "x</SCRIPT>").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Html, ShowsHowManyTokensTheExpertsSaw) {
  json report = full_report();
  report["quantize"]["experts"] = {{{"block", 0}, {"tokens", {500, 20, 0, 700}}}, {{"block", 1}, {"tokens", {9, 8}}}};
  const auto starved = [](int block, int expert, const char* tensor) {
    return json{{"tensor", tensor}, {"reason", "r"}, {"block", block}, {"expert", expert}, {"tokens", 0}};
  };
  report["quantize"]["fallbacks"] = {
      starved(0, 1, "a"), starved(0, 2, "b"), starved(0, 2, "c"), {{"tensor", "d"}, {"reason", "r"}}};
  report["calibration"] = {
      {"experts", {{{"block", 0}, {"tokens", {{"ko", {400, 0, 0, 0}}, {"en", {100, 20, 0, 700}}}}}}}, {"seed", 5}};
  const std::vector<ExpertCoverage> coverage = expert_coverage(report);
  ASSERT_EQ(coverage.size(), 2u);
  EXPECT_EQ(coverage[0].experts, 4);
  EXPECT_EQ(coverage[0].fewest, 0);
  EXPECT_EQ(coverage[0].median, 500);
  EXPECT_EQ(coverage[0].most, 700);
  EXPECT_EQ(coverage[0].starved, 2);
  EXPECT_EQ(coverage[1].starved, 0);
  EXPECT_EQ(coverage[0].reached, (std::vector<std::pair<std::string, double>>{{"English", 3}, {"Korean", 1}}));
  const auto html = render_html(report, "");
  ASSERT_TRUE(html.ok());
  EXPECT_THAT(*html, HasSubstr("2 experts saw too few tokens for GPTQ"));
  EXPECT_THAT(*html, HasSubstr("Reached by Korean"));
  EXPECT_THAT(*html, Not(HasSubstr("calibration experts")));
  for (const json& odd : {json(3), json::array({3, nullptr}), json{{{"tokens", {"x"}}}}, json{{"en", 1}}}) {
    report["quantize"]["experts"] = odd;
    report["calibration"]["experts"] = odd;
    EXPECT_TRUE(render_html(report, "").ok()) << odd;
  }
}

TEST(Charts, ExpertsOfABlockAreOnePointTheirMean) {
  json report = full_report();
  report["quantize"]["layers"] = {{{"block", 0}, {"tensor", "x.experts.0.w1.weight"}, {"relative_error", 0.1}},
                                  {{"block", 0}, {"tensor", "x.experts.1.w1.weight"}, {"relative_error", 0.3}}};
  const json spec = layer_charts(report).at(0).spec;
  ASSERT_EQ(spec["datasets"].size(), 1u);
  EXPECT_NEAR(spec["datasets"][0]["data"][0].get<double>(), 20, 1e-9);
}

TEST(Charts, LayersOfOneKindShareALineAndMissingBlocksAreGaps) {
  json report = full_report();
  report["quantize"]["layers"].push_back(
      {{"block", 1}, {"tensor", "model.layers.1.mlp.up_proj.weight"}, {"relative_error", 0.5}});
  const std::vector<ChartSpec> charts = layer_charts(report);
  ASSERT_EQ(charts.size(), 1u);
  const json& spec = charts[0].spec;
  EXPECT_EQ(spec["labels"], json({"0", "1"}));
  ASSERT_EQ(spec["datasets"].size(), 2u);
  EXPECT_EQ(spec["datasets"][0], json({{"label", "q_proj"}, {"data", {1.0, 2.0}}}));
  EXPECT_EQ(spec["datasets"][1], json({{"label", "up_proj"}, {"data", {nullptr, 50.0}}}));
}

TEST(Summary, SaysWhatTheRunGave) {
  const std::string summary = render_summary(full_report(), false);
  for (const char* expected :
       {"quickstart  gptq 4 bits, symmetric, group size 128", "3.00 times smaller", "perplexity, English",
        "perplexity, Korean", "+4.1 %", "0.0213", "95.3 %", "Yes: quantization hurts", "1 min 15 s",
        "succeeded, 2 attempts", "succeeded, reused", "warning: calibration text is short", "out/quickstart/checkpoint",
        "out/quickstart/report.html"}) {
    EXPECT_THAT(summary, HasSubstr(expected));
  }
  EXPECT_THAT(summary, Not(HasSubstr("\033[")));
  EXPECT_THAT(render_summary(full_report(), true), HasSubstr("\033[1m"));
}

TEST(Summary, OfAMatrixEveryVariantAndEveryCheckpoint) {
  json report = full_report();
  report["stages"] = json::array();
  for (const char* stage : {"quantize-3", "quantize-4", "validate-3", "validate-4"}) {
    const std::string uses = std::string(stage).substr(0, 8);
    report["stages"].push_back({{"name", stage}, {"uses", uses}, {"state", "succeeded"}, {"seconds", 1}});
    report["variants"][stage] = report[uses];
  }
  report["variants"]["quantize-4"]["bytes"] = 7864320;
  report["variants"]["validate-4"]["languages"]["ko"]["kl_mean"] = 0.0456;
  const std::string page = *render_html(report, std::string(chart_js()));
  const std::string summary = render_summary(report, false);
  for (const char* expected : {"5.00 MiB, 3.00 times smaller", "7.50 MiB, 2.00 times smaller", "Korean: KL 0.0456"}) {
    EXPECT_THAT(summary, HasSubstr(expected));
    EXPECT_THAT(page, HasSubstr(expected));
  }
  EXPECT_THAT(summary, HasSubstr("out/quickstart/quantize-3/checkpoint"));
  EXPECT_THAT(summary, HasSubstr("out/quickstart/quantize-4/checkpoint"));
  EXPECT_THAT(summary, Not(HasSubstr("quickstart/checkpoint")));
  EXPECT_TRUE(variants(full_report()).empty());
}

TEST(Facts, NumbersAsPeopleReadThem) {
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(1023), "1023 bytes");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(15.0 * 1024 * 1024), "15.0 MiB");
  EXPECT_EQ(format_seconds(0.416), "0.42 s");
  EXPECT_EQ(format_seconds(59.94), "59.9 s");
  EXPECT_EQ(format_seconds(192), "3 min 12 s");
  EXPECT_EQ(format_seconds(3840), "1 h 04 min");
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1234567), "1,234,567");
  EXPECT_EQ(format_share(0.0213, 1), "2.1 %");
  EXPECT_EQ(format_increase(-0.004), "-0.40 %");
  EXPECT_EQ(format_increase(0.0213), "+2.1 %");
  EXPECT_EQ(format_significant(0.012345, 3), "0.0123");
  EXPECT_EQ(format_significant(12.345, 4), "12.35");
  EXPECT_EQ(format_significant(0.00000123, 2), "1.2e-06");
}

}  // namespace
}  // namespace gridquant::eval
