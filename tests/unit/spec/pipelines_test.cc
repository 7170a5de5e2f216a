// What ships in pipelines/.
#include <gtest/gtest.h>

#include "coordinator/spec/batch.h"
#include "stages/catalog/catalog.h"
#include "tests/unit/spec/support.h"

namespace gridquant::spec {
namespace {

TEST(Pipelines, SchemaIsTheGeneratorsOutput) {
  EXPECT_EQ(read_source_file("pipelines/pipeline.schema.json"), pipeline_json_schema())
      << "write it anew: gridquant schema > pipelines/pipeline.schema.json";
}

TEST(Pipelines, SchemaDescribesEveryKindOfStage) {
  const auto schema = nlohmann::json::parse(pipeline_json_schema());
  EXPECT_EQ(schema["$schema"], "http://json-schema.org/draft-07/schema#");
  const auto& stage = schema["properties"]["spec"]["properties"]["stages"]["additionalProperties"];
  EXPECT_EQ(stage["allOf"].size(), stages::all_stages().size());
}

TEST(Pipelines, QuickstartIsValidAndComplete) {
  const std::string text = read_source_file("pipelines/quickstart.yaml");
  const ParseResult result = parse_pipeline(text, {.file = "pipelines/quickstart.yaml", .working_folder = "/repo"});
  ASSERT_TRUE(result.pipeline) << render_text(result.diagnostics, text, false);
  const Pipeline& pipeline = *result.pipeline;
  ASSERT_EQ(pipeline.stages.size(), 5u);
  EXPECT_EQ(pipeline.name, "quickstart");
  EXPECT_EQ(pipeline.stages[0].with["model"], "/repo/models/small");
  EXPECT_EQ(pipeline.stages[1].with["datasets"][1]["path"], "/repo/models/data/calibration.ko.txt");
  EXPECT_EQ(pipeline.stages[2].with["bits"], 4);
  EXPECT_EQ(pipeline.stages[2].with["scaleSearch"], "weighted") << "defaults are filled in";
  EXPECT_EQ(pipeline.stages[4].inputs.at("quantize"), "quantize");
  EXPECT_EQ(pipeline.stages[4].inputs.at("analyze"), "analyze");
}

TEST(Pipelines, QuickstartTakesParams) {
  const std::string text = read_source_file("pipelines/quickstart.yaml");
  const ParseResult result = parse_pipeline(text, {.file = "pipelines/quickstart.yaml",
                                                   .params = {{"model", "m"}, {"bits", "3"}, {"groupSize", "-1"}},
                                                   .working_folder = "/home/u"});
  ASSERT_TRUE(result.pipeline) << render_text(result.diagnostics, text, false);
  EXPECT_EQ(result.pipeline->stages[0].with["model"], "/home/u/m") << "-p is relative to the working folder";
  EXPECT_EQ(result.pipeline->stages[2].with["bits"], 3);
  EXPECT_EQ(result.pipeline->stages[2].with["groupSize"], -1);
}

TEST(Pipelines, GptqAsksForItsFiles) {
  const std::string text = read_source_file("pipelines/gptq.yaml");
  EXPECT_TRUE(parse_pipeline(text, {.file = "gptq.yaml", .params_required = false}).pipeline);
  const ParseResult result = parse_pipeline(text, {.file = "gptq.yaml"});
  EXPECT_EQ(codes_of(result), std::vector<std::string>(5, "GQ0402"));
}

TEST(Pipelines, ExamplesOfDataAreValid) {
  for (const char* file : {"mixture.yaml", "generated.yaml", "fanout.yaml"}) {
    const std::string text = read_source_file(std::string("pipelines/") + file);
    const ParseResult result = parse_pipeline(text, {.file = file, .params_required = false});
    EXPECT_TRUE(result.pipeline) << render_text(result.diagnostics, text, false);
  }
}

TEST(Pipelines, TheBatchIsValidWithItsPipeline) {
  const BatchResult result =
      parse_batch(read_source_file("pipelines/sweep.yaml"), {.file = "sweep.yaml", .working_folder = "/p"});
  ASSERT_TRUE(result.batch);
  EXPECT_EQ(result.batch->pipeline, "/p/quickstart.yaml");
  ASSERT_EQ(result.batch->members.size(), 4u);
  for (const BatchMember& member : result.batch->members) {
    EXPECT_TRUE(expand_member(*result.batch, member, read_source_file("pipelines/quickstart.yaml")).pipeline)
        << member.name;
  }
}

}  // namespace
}  // namespace gridquant::spec
