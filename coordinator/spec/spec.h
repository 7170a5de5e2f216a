// From the text of a pipeline file to a Pipeline, or to every error in it at once.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/spec/pipeline.h"
#include "engine/base/status.h"

namespace gridquant::spec {

struct Diagnostic {
  std::string code;  // "GQ0103"; the table is in spec/codes.h
  std::string file;
  int line = 1;         // 1-based
  int column = 1;       // 1-based, in characters
  int length = 1;       // characters to underline
  std::string message;  // one sentence
  std::string hint;     // "did you mean 'needs'?" or what to do; may be empty
};

struct ParseOptions {
  std::string file = {};  // for messages; relative paths in the file are relative to its folder
  std::map<std::string, std::string> params = {};  // -p key=value, as text
  std::string working_folder = {};                 // what relative paths in `params` and `file` are relative to
  bool params_required = true;  // false (gridquant validate): a required param without value is no error
  bool one_cpu_node = false;    // true (gridquant run of this build): GPUs and node labels are refused, GQ0210
};

struct ParseResult {
  std::optional<Pipeline> pipeline;     // set exactly when there are no diagnostics
  std::vector<Diagnostic> diagnostics;  // in order of position
};

// The diagnostic of a file whose content could not be had. `reason` is the operating system's or Env's message.
Diagnostic unreadable_file(const std::string& file, const std::string& reason);

// Never fails otherwise: any bytes give a ParseResult. Pure: reads no file, no clock, no environment.
ParseResult parse_pipeline(std::string_view text, const ParseOptions& options);

// `text` of -p arguments ("key=value") as ParseOptions::params. InvalidArgument names the one that has no key or no '='
// or gives a key twice.
StatusOr<std::map<std::string, std::string>> parse_param_arguments(const std::vector<std::string>& arguments);

// file:line:col: error[GQnnnn]: message, the source line, a caret, the hint. `text` is the file's content.
std::string render_text(const std::vector<Diagnostic>& diagnostics, std::string_view text, bool color);
std::string render_json(const std::vector<Diagnostic>& diagnostics);

// JSON Schema (draft-07) of the pipeline file, from the tables that parse_pipeline uses and the stage catalog.
std::string pipeline_json_schema();

// The value of an `if:` expression. `stages` maps a stage's name to {"state": "succeeded"|"failed"|"skipped"|
// "cancelled", "summary": {...}}. InvalidArgument if it does not evaluate to a boolean.
StatusOr<bool> evaluate_condition(const std::string& expression, const nlohmann::json& params,
                                  const nlohmann::json& stages);

}  // namespace gridquant::spec
