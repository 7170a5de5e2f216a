// kind: Batch: its members, and what is wrong with a batch file.
#include "coordinator/spec/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/spec/support.h"

namespace gridquant::spec {
namespace {

using testing::ElementsAre;

BatchResult batch_of(std::string_view spec) {
  return parse_batch("apiVersion: gridquant/v1\nkind: Batch\nmetadata: {name: sweep}\nspec:\n" + std::string(spec),
                     test_options());
}

std::vector<std::string> shown(const BatchResult& result) {
  std::vector<std::string> lines;
  for (const Diagnostic& one : result.diagnostics) {
    lines.push_back(one.code + " " + std::to_string(one.line) + ":" + std::to_string(one.column) + " " + one.message);
  }
  return lines;
}

TEST(BatchTest, AMemberForEveryCombination) {
  const BatchResult result = batch_of(
      "  pipeline: q.yaml\n  params: {samples: 8}\n  matrix: {model: [models/a, b], bits: [3, 4]}\n"
      "  maxParallel: 2\n  failFast: true\n");
  ASSERT_TRUE(result.batch.has_value()) << testing::PrintToString(shown(result));
  const Batch& batch = *result.batch;
  EXPECT_EQ(batch.pipeline, "/w/dir/q.yaml");
  EXPECT_EQ(batch.max_parallel, 2);
  EXPECT_TRUE(batch.fail_fast);
  std::vector<std::string> names;
  for (const BatchMember& member : batch.members) names.push_back(member.name);
  EXPECT_THAT(names, ElementsAre("sweep-models-a-3", "sweep-models-a-4", "sweep-b-3", "sweep-b-4"));
  EXPECT_EQ(batch.members[1].params,
            (std::map<std::string, std::string>{{"model", "models/a"}, {"bits", "4"}, {"samples", "8"}}));
}

TEST(BatchTest, MembersBecomePipelines) {
  const BatchResult result = batch_of("  pipeline: q.yaml\n  matrix: {model: [a, b]}\n");
  ASSERT_TRUE(result.batch.has_value());
  const std::string pipeline = file_with(
      "  params: {model: {type: path, required: true}}\n"
      "  queue: team\n  priority: 3\n  deadline: 2h\n"
      "  stages: {analyze: {uses: analyze, with: {model: '${params.model}'}, deadline: 1h,"
      " resources: {nodeSelector: {zone: x}}}}\n");
  const ParseResult first = expand_member(*result.batch, result.batch->members[0], pipeline);
  ASSERT_TRUE(first.pipeline.has_value()) << render_text(first.diagnostics, pipeline, false);
  EXPECT_EQ(first.pipeline->name, "sweep-a");
  EXPECT_EQ(first.pipeline->params["model"], "/w/dir/a") << "relative to the batch file";
  EXPECT_EQ(first.pipeline->queue, "team");
  EXPECT_EQ(first.pipeline->priority, 3);
  EXPECT_EQ(first.pipeline->deadline_ms, 7'200'000);
  EXPECT_EQ(first.pipeline->stages[0].deadline_ms, 3'600'000);
  EXPECT_EQ(first.pipeline->stages[0].node_selector.at("zone"), "x");
}

TEST(BatchTest, WithoutAMatrixThereIsOneMember) {
  const BatchResult result = batch_of("  pipeline: q.yaml\n");
  ASSERT_TRUE(result.batch.has_value());
  ASSERT_EQ(result.batch->members.size(), 1u);
  EXPECT_EQ(result.batch->members[0].name, "sweep");
}

TEST(BatchTest, EveryErrorAtItsPlace) {
  const BatchResult result =
      batch_of("  params: {bits: 3}\n  matrix: {bits: [3, 3], model: []}\n  maxParallel: 0\n  failfast: yes\n");
  std::vector<std::string> codes;
  for (const std::string& line : shown(result)) codes.push_back(line.substr(0, line.find(' ', 7)));
  EXPECT_THAT(codes,
              ElementsAre("GQ0102 4:1", "GQ0111 5:12", "GQ0111 6:22", "GQ0110 6:33", "GQ0106 7:16", "GQ0103 8:3"));
  EXPECT_THAT(shown(batch_of("  pipeline: [a]\n")), ElementsAre(testing::StartsWith("GQ0104 5:13")));
  EXPECT_FALSE(parse_batch("- a\n", test_options()).batch.has_value());
  EXPECT_FALSE(parse_batch("kind: Batch\nspec: [", test_options()).batch.has_value());
}

TEST(BatchTest, ABatchIsKnownByItsKind) {
  EXPECT_TRUE(is_batch("kind: Batch\n"));
  EXPECT_FALSE(is_batch("kind: Pipeline\n"));
  EXPECT_FALSE(is_batch("[kind: Batch"));
  EXPECT_FALSE(is_batch(""));
}

}  // namespace
}  // namespace gridquant::spec
