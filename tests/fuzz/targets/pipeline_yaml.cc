// A pipeline file, and the rendering of what is wrong with it.
#include "coordinator/spec/spec.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {

void pipeline_yaml(std::string_view bytes) {
  static const spec::ParseOptions options = {.file = "pipeline.yaml", .working_folder = "/w"};
  const spec::ParseResult result = spec::parse_pipeline(bytes, options);
  require(result.pipeline.has_value() == result.diagnostics.empty(), "neither a pipeline nor an error, or both");
  spec::render_text(result.diagnostics, bytes, false);
  spec::render_json(result.diagnostics);
}

}  // namespace gridquant::fuzz
