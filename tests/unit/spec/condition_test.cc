// evaluate_condition: what the run asks when all needs of a stage are over.
#include <gtest/gtest.h>

#include "tests/unit/spec/support.h"

namespace gridquant::spec {
namespace {

using nlohmann::json;

const json kStages = {
    {"plan", {{"state", "succeeded"}, {"summary", {{"bytes", 5}, {"kl", {{"mean", 0.05}}}, {"fits", true}}}}},
    {"quantize-a-1", {{"state", "failed"}}}};

StatusOr<bool> holds(const std::string& expression, const json& params = json::object()) {
  return evaluate_condition(expression, params, kStages);
}

TEST(Condition, SeesStatesAndSummaries) {
  EXPECT_TRUE(*holds("stages.plan.state == 'succeeded'"));
  EXPECT_TRUE(*holds("${stages.plan.state == 'succeeded'}"));
  EXPECT_FALSE(*holds("stages.quantize-a-1.state == 'succeeded'"));
  EXPECT_TRUE(*holds("stages.plan.summary.kl.mean <= 0.05 && stages.plan.summary.bytes > 4"));
  EXPECT_TRUE(*holds("stages.plan.summary.fits"));
  EXPECT_TRUE(*holds("params.x == 3", {{"x", 3}}));
}

TEST(Condition, TakesWhatIsMissingAsNull) {
  EXPECT_FALSE(*holds("stages.quantize-a-1.summary.kl.mean < 1"));
  EXPECT_FALSE(*holds("stages.quantize-a-1.summary.fits"));
  EXPECT_TRUE(*holds("!stages.quantize-a-1.summary.fits"));
  EXPECT_TRUE(*holds("stages.plan.summary.kl.max == null"));
  EXPECT_TRUE(*holds("stages.plan.summary.bytes.more == null"));
}

TEST(Condition, ThatIsNoBooleanIsAnError) {
  for (const char* text : {"stages.plan.state", "stages.plan.summary.bytes", "stages.plan.summary.kl", "1", "'x'", "",
                           "stages.other.state == 'failed'", "matrix.x == 1", "stages.plan",
                           "stages.plan.state ==", "stages.plan.state && true"}) {
    EXPECT_EQ(holds(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

// What the parser leaves of a condition is what the evaluator takes.
TEST(Condition, FromAFileEvaluates) {
  const ParseResult result = parse(R"(
  params: {low: {type: number, default: -0.5}, tag: {type: string, default: "it's"}, late: {type: bool, required: true}}
  stages:
    plan: {uses: analyze, with: {model: m}}
    next:
      uses: analyze
      needs: plan
      matrix: {who: [a, b]}
      with: {model: m}
      if: ${ stages.plan.summary.kl.mean>params.low && (params.tag == 'it''s') && matrix.who != 'b' && !params.late }
)");
  ASSERT_TRUE(result.pipeline) << render_text(result.diagnostics, "", false);
  const StagePlan* a = find_plan(*result.pipeline, "next-a");
  const StagePlan* b = find_plan(*result.pipeline, "next-b");
  ASSERT_TRUE(a != nullptr && b != nullptr);
  const json params = {{"late", false}};
  EXPECT_TRUE(*holds(a->condition, params));
  EXPECT_FALSE(*holds(b->condition, params));
  EXPECT_FALSE(*holds(a->condition, {{"late", true}}));
}

TEST(Condition, ThatIsConstantIsFolded) {
  const ParseResult result = parse(R"(
  params: {check: {type: bool, default: false}}
  stages:
    yes: {uses: analyze, with: {model: m}, if: "${!params.check}"}
    no: {uses: analyze, with: {model: m}, if: "${params.check}"}
)");
  ASSERT_TRUE(result.pipeline);
  EXPECT_EQ(result.pipeline->stages[0].condition, "");
  EXPECT_EQ(result.pipeline->stages[1].condition, "false");
}

}  // namespace
}  // namespace gridquant::spec
