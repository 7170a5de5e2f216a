// Larger graphs: the shapes that golden files are too small for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/spec/support.h"

namespace gridquant::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string analyze(const std::string& name, const std::string& needs) {
  return "    " + name + ": {uses: analyze, needs: [" + needs + "], with: {model: m}}\n";
}

TEST(Graph, TakesAChainOfThousands) {
  std::string text = "  stages:\n";
  for (int i = 0; i < 5000; ++i) text += analyze("s" + std::to_string(i), i == 0 ? "" : "s" + std::to_string(i - 1));
  const ParseResult result = parse(text);
  ASSERT_TRUE(result.pipeline);
  EXPECT_EQ(result.pipeline->stages.size(), 5000u);
}

TEST(Graph, PrintsALongCircleShortened) {
  std::string text = "  stages:\n";
  for (int i = 0; i < 1000; ++i) text += analyze("s" + std::to_string(i), "s" + std::to_string((i + 1) % 1000));
  const ParseResult result = parse(text);
  EXPECT_THAT(codes_of(result), ElementsAre("GQ0202"));
  EXPECT_THAT(result.diagnostics.at(0).message, HasSubstr("s0 -> s1 -> s2"));
  EXPECT_THAT(result.diagnostics.at(0).message, HasSubstr("s999 -> s0"));
  EXPECT_LT(result.diagnostics.at(0).message.size(), 200u);
}

TEST(Graph, ReportsTheCircleOnceHoweverItIsEntered) {
  const ParseResult result = parse("  stages:\n" + analyze("in", "a") + analyze("a", "b") + analyze("b", "c") +
                                   analyze("c", "a") + analyze("out", "c, in"));
  ASSERT_THAT(codes_of(result), ElementsAre("GQ0202"));
  EXPECT_THAT(result.diagnostics[0].message, HasSubstr("a -> b -> c -> a"));
  EXPECT_EQ(result.diagnostics[0].line, 9);
}

TEST(Graph, KeepsFileOrder) {
  const ParseResult result = parse("  stages:\n" + analyze("late", "early") + analyze("early", ""));
  ASSERT_TRUE(result.pipeline);
  EXPECT_EQ(result.pipeline->stages[0].name, "late");
  EXPECT_THAT(result.pipeline->stages[0].needs, ElementsAre("early"));
}

TEST(Graph, ReadsTheNearestProducer) {
  const ParseResult result = parse(R"(
  stages:
    far: {uses: analyze, with: {model: m}}
    near: {uses: analyze, needs: far, with: {model: m}}
    calibrate: {uses: calibrate, needs: near, with: {datasets: [{path: x, language: en}]}}
    plan: {uses: plan, needs: [calibrate, far]}
)");
  ASSERT_TRUE(result.pipeline);
  EXPECT_EQ(find_plan(*result.pipeline, "calibrate")->inputs.at("analyze"), "near");
  EXPECT_EQ(find_plan(*result.pipeline, "plan")->inputs.at("analyze"), "far") << "one step beats two";
}

std::string matrix_stage(const std::string& name, const std::string& needs, int values) {
  std::string list;
  for (int i = 0; i < values; ++i) list += (i == 0 ? "" : ", ") + std::to_string(i);
  return "    " + name + ": {uses: analyze, needs: [" + needs + "], matrix: {" + name + ": [" + list +
         "]}, with: {model: m}}\n";
}

TEST(Graph, NeedsOnAMatrixMeanAllInstances) {
  const ParseResult result = parse("  stages:\n" + matrix_stage("a", "", 256) + matrix_stage("b", "a", 256));
  ASSERT_TRUE(result.pipeline);
  EXPECT_EQ(result.pipeline->stages.size(), 512u);
  EXPECT_EQ(find_plan(*result.pipeline, "b-7")->needs.size(), 256u);
  EXPECT_EQ(find_plan(*result.pipeline, "b-7")->matrix.at("b"), "7");
}

TEST(Graph, CapsOneMatrixAndTheWholeFile) {
  EXPECT_THAT(codes_of(parse("  stages:\n" + matrix_stage("a", "", 257))), ElementsAre("GQ0206"));
  std::string text = "  stages:\n";
  for (int i = 0; i < 60; ++i) text += matrix_stage("s" + std::to_string(i), "", 256);
  EXPECT_THAT(codes_of(parse(text)), ElementsAre("GQ0206"));
}

TEST(Graph, OneMistakeInAMatrixIsOneDiagnostic) {
  const ParseResult result = parse(R"(
  stages:
    a: {uses: analyze, matrix: {x: [1, 2, 3]}, with: {modle: "m${matrix.x}"}}
    b: {uses: plan, matrix: {x: [1, 2, 3]}, with: {bits: 5}}
)");
  EXPECT_THAT(codes_of(result), ElementsAre("GQ0103", "GQ0204", "GQ0105"));
}

}  // namespace
}  // namespace gridquant::spec
