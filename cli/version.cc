// gridquant version
#include <ostream>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "engine/device/cpu.h"

namespace gridquant::cli {

void add_version(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("version", "Says which gridquant this is, and on what processor");
  command->callback([&invocation] {
    const device::CpuInfo& cpu = invocation.cpu;
    invocation.out << "gridquant " << GRIDQUANT_VERSION << "\n"
                   << cpu.model << ", " << cpu.cores << " cores, " << cpu.kind() << ", products in "
                   << (cpu.has_bf16_products() ? "bf16" : "fp32") << "\n";
  });
}

}  // namespace gridquant::cli
