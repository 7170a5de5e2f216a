// tests/golden/spec/*.yaml against *.expected, to the letter. GRIDQUANT_REGENERATE=1 writes the expected files anew;
// read the difference before you commit it.
//
// A file's first lines may say how it is read: "#! -p key=value ..." gives parameters, "#! required" demands required
// ones, "#! run" is what `gridquant run` does.
#include <cstdlib>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/spec/support.h"

namespace gridquant::spec {
namespace {

constexpr char kFolder[] = GRIDQUANT_SOURCE_DIR "/tests/golden/spec/";

ParseOptions options_of(const std::string& text, const std::string& name) {
  ParseOptions options{.file = name + ".yaml", .working_folder = "/w", .params_required = false};
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line) && line.starts_with("#!");) {
    std::istringstream words(line.substr(2));
    for (std::string word; words >> word;) {
      if (word == "required" || word == "run") options.params_required = true;
      if (word == "run") options.one_cpu_node = true;
      if (word.find('=') == std::string::npos) continue;
      options.params[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
  }
  return options;
}

std::string describe_stage(const StagePlan& stage) {
  nlohmann::ordered_json json = {{"stage", stage.name},
                                 {"uses", stage.uses},
                                 {"needs", stage.needs},
                                 {"inputs", stage.inputs},
                                 {"with", stage.with}};
  if (!stage.condition.empty()) json["if"] = stage.condition;
  if (!stage.matrix.empty()) json["matrix"] = stage.matrix;
  json["retry"] = {stage.retry.max_attempts, stage.retry.initial_backoff_ms, stage.retry.factor,
                   stage.retry.max_backoff_ms};
  json["timeoutMs"] = stage.timeout_ms;
  json["resources"] = {{"cores", stage.cores},
                       {"bytes", stage.memory_bytes},
                       {"ranks", stage.gang_ranks},
                       {"minRanks", stage.gang_min_ranks},
                       {"gpus", stage.gpus_per_rank}};
  return json.dump() + "\n";
}

std::string describe(const ParseResult& result, const std::string& text) {
  if (!result.pipeline) return render_text(result.diagnostics, text, false);
  const Pipeline& pipeline = *result.pipeline;
  std::string out = "ok: " + pipeline.name + " " + nlohmann::json(pipeline.labels).dump() + "\nparams " +
                    pipeline.params.dump() + "\n";
  for (const StagePlan& stage : pipeline.stages) out += describe_stage(stage);
  return out;
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  const auto files = base::posix_env().list(kFolder);
  if (!files.ok()) return names;
  for (const std::string& file : *files) {
    if (file.ends_with(".yaml")) names.push_back(file.substr(0, file.size() - 5));
  }
  return names;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, IsAsExpected) {
  const std::string path = kFolder + GetParam();
  const auto text = base::read_file(base::posix_env(), path + ".yaml");
  ASSERT_TRUE(text.ok()) << text.status();
  const ParseResult result = parse_pipeline(*text, options_of(*text, GetParam()));
  EXPECT_EQ(result.pipeline.has_value(), result.diagnostics.empty());
  const std::string actual = describe(result, *text);
  if (std::getenv("GRIDQUANT_REGENERATE") != nullptr) {
    ASSERT_TRUE(base::write_file_atomically(base::posix_env(), path + ".expected", actual).ok());
  }
  const auto expected = base::read_file(base::posix_env(), path + ".expected");
  ASSERT_TRUE(expected.ok()) << expected.status() << "; GRIDQUANT_REGENERATE=1 writes it";
  EXPECT_EQ(actual, *expected);
}

INSTANTIATE_TEST_SUITE_P(Spec, Golden, testing::ValuesIn(golden_names()), [](const auto& info) { return info.param; });

TEST(GoldenFiles, AreThere) {
  EXPECT_GE(golden_names().size(), 20u);
}

// Every code is shown by at least one golden file, but for those that no text file can cause.
TEST(GoldenFiles, ShowEveryCode) {
  std::string all;
  for (const std::string& name : golden_names()) {
    all += read_source_file("tests/golden/spec/" + name + ".expected");
  }
  for (const char* code : {"GQ0003", "GQ0004", "GQ0005", "GQ0006", "GQ0008", "GQ0101", "GQ0102", "GQ0103", "GQ0104",
                           "GQ0105", "GQ0106", "GQ0107", "GQ0108", "GQ0109", "GQ0110", "GQ0111", "GQ0201", "GQ0202",
                           "GQ0203", "GQ0204", "GQ0205", "GQ0206", "GQ0207", "GQ0208", "GQ0209", "GQ0210", "GQ0211",
                           "GQ0301", "GQ0302", "GQ0303", "GQ0304", "GQ0401", "GQ0402", "GQ0403", "GQ0404"}) {
    EXPECT_THAT(all, testing::HasSubstr(code));
  }
}

}  // namespace
}  // namespace gridquant::spec
