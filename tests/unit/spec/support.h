// Short ways to make pipelines and to name what came of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/spec/spec.h"
#include "engine/base/env.h"

namespace gridquant::spec {

inline ParseOptions test_options() {
  return {.file = "dir/test.yaml", .working_folder = "/w", .params_required = false};
}

// The text of `spec:` (indented by two) as a whole file.
inline std::string file_with(std::string_view spec) {
  return "apiVersion: gridquant/v1\nkind: Pipeline\nmetadata: {name: test}\nspec:\n" + std::string(spec);
}

inline ParseResult parse(std::string_view spec) {
  return parse_pipeline(file_with(spec), test_options());
}

// "GQ0103 5:7 6": code, position, length.
inline std::vector<std::string> codes_of(const ParseResult& result) {
  std::vector<std::string> codes;
  for (const Diagnostic& diagnostic : result.diagnostics) codes.push_back(diagnostic.code);
  return codes;
}

inline const StagePlan* find_plan(const Pipeline& pipeline, std::string_view name) {
  for (const StagePlan& stage : pipeline.stages) {
    if (stage.name == name) return &stage;
  }
  return nullptr;
}

inline std::string read_source_file(const std::string& path) {
  auto text = base::read_file(base::posix_env(), std::string(GRIDQUANT_SOURCE_DIR) + "/" + path);
  return text.ok() ? *text : "cannot be read: " + path;
}

}  // namespace gridquant::spec
