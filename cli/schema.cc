// gridquant schema: the JSON Schema of pipeline files, for editors.
#include <ostream>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "coordinator/spec/spec.h"

namespace gridquant::cli {

void add_schema(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("schema", "Prints the JSON Schema (draft-07) of pipeline files");
  command->footer(
      "Editors with yaml-language-server use it by a first line such as\n"
      "  # yaml-language-server: $schema=pipeline.schema.json");
  command->callback([&invocation] { invocation.out << spec::pipeline_json_schema(); });
}

}  // namespace gridquant::cli
