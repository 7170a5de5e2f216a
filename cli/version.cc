// gridquant version
#include <ostream>

#include "cli/command.h"
#include "engine/device/cpu.h"

namespace gridquant::cli {

void add_version(Command app, Invocation& invocation) {
  const Command command = app.add_command("version", "Says which gridquant this is, and on what processor");
  command.on_given([&invocation] {
    const device::CpuInfo& cpu = invocation.cpu;
    invocation.out << "gridquant " << GRIDQUANT_VERSION << "\n"
                   << cpu.model << ", " << cpu.cores << " cores, " << cpu.kind() << ", products in "
                   << (cpu.has_bf16_products() ? "bf16" : "fp32") << "\n";
  });
}

}  // namespace gridquant::cli
