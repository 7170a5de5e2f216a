// gridquant schema: the JSON Schema of pipeline files, for editors.
#include <ostream>

#include "cli/command.h"
#include "coordinator/spec/spec.h"

namespace gridquant::cli {

void add_schema(Command app, Invocation& invocation) {
  const Command command = app.add_command("schema", "Prints the JSON Schema (draft-07) of pipeline files");
  command.set_footer(
      "Editors with yaml-language-server use it by a first line such as\n"
      "  # yaml-language-server: $schema=pipeline.schema.json");
  command.on_given([&invocation] { invocation.out << spec::pipeline_json_schema(); });
}

}  // namespace gridquant::cli
