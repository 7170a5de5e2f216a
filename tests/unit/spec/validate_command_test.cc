// gridquant validate and gridquant schema, as the command line sees them.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command.h"
#include "tests/unit/spec/support.h"

namespace gridquant::cli {
namespace {

using testing::HasSubstr;

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

Outcome run(std::vector<std::string> arguments) {
  std::ostringstream out, err;
  Invocation invocation{.out = out,
                        .err = err,
                        .working_folder = GRIDQUANT_SOURCE_DIR,
                        .own_folder = "",
                        .coordinator = "",
                        .security = auth::ClientSecurity()};
  const CommandLine line("gridquant", "");
  add_validate(line.root(), invocation);
  add_schema(line.root(), invocation);
  line.parse(std::move(arguments), out, err);
  return {invocation.exit_code, out.str(), err.str()};
}

TEST(ValidateCommand, SaysOkWithTheNumberOfStages) {
  const Outcome outcome = run({"validate", "pipelines/quickstart.yaml", "pipelines/gptq.yaml"});
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_EQ(outcome.out, "pipelines/quickstart.yaml: ok (5 stages)\npipelines/gptq.yaml: ok (5 stages)\n");
  EXPECT_EQ(outcome.err, "");
}

TEST(ValidateCommand, ReportsEachBadFileAndGoesOn) {
  const Outcome outcome =
      run({"validate", "no/such.yaml", "tests/golden/spec/kind.yaml", "pipelines", "pipelines/gptq.yaml"});
  EXPECT_EQ(outcome.exit_code, kExitUsage);
  EXPECT_EQ(outcome.out, "pipelines/gptq.yaml: ok (5 stages)\n");
  EXPECT_THAT(outcome.err, HasSubstr("no/such.yaml:1:1: error[GQ0001]: cannot be read"));
  EXPECT_THAT(outcome.err, HasSubstr("tests/golden/spec/kind.yaml:1:13: error[GQ0109]"));
  EXPECT_THAT(outcome.err, HasSubstr("pipelines:1:1: error[GQ0001]"));
}

TEST(ValidateCommand, WritesOneJsonArray) {
  const Outcome outcome = run({"validate", "--output", "json", "tests/golden/spec/kind.yaml", "no.yaml"});
  EXPECT_EQ(outcome.exit_code, kExitUsage);
  const auto json = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[0]["file"], "tests/golden/spec/kind.yaml");
  EXPECT_EQ(json[2]["code"], "GQ0001");
  EXPECT_EQ(run({"validate", "-o", "json", "pipelines/gptq.yaml"}).out, "[]\n");
}

TEST(ValidateCommand, ChecksParams) {
  EXPECT_EQ(run({"validate", "pipelines/quickstart.yaml", "-p", "bits=3"}).exit_code, kExitOk);
  const Outcome outcome = run({"validate", "-p", "bits=5", "-p", "bit=3", "pipelines/quickstart.yaml"});
  EXPECT_EQ(outcome.exit_code, kExitUsage);
  EXPECT_THAT(outcome.err, HasSubstr("GQ0404"));
  EXPECT_THAT(outcome.err, HasSubstr("did you mean 'bits'?"));
  EXPECT_EQ(run({"validate", "pipelines/quickstart.yaml", "-p", "bits"}).exit_code, kExitUsage);
  EXPECT_EQ(run({"validate", "pipelines/quickstart.yaml", "-p", "bits=3", "-p", "bits=4"}).exit_code, kExitUsage);
}

TEST(SchemaCommand, PrintsTheSchema) {
  const Outcome outcome = run({"schema"});
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_EQ(outcome.out, spec::pipeline_json_schema());
}

}  // namespace
}  // namespace gridquant::cli
