// config.json, and the tables that an architecture makes of what was accepted.
#include "engine/model/architecture.h"
#include "engine/model/config.h"
#include "tests/fuzz/fuzz.h"

namespace gridquant::fuzz {

void config_json(std::string_view bytes) {
  const auto config = model::parse_model_config(bytes, "config.json");
  if (!config.ok()) return;
  const model::Architecture& architecture = model::architecture_of(*config);
  require(!architecture.outer_tensors(*config).empty(), "no tensors outside the blocks");
  require(config->block_count > 0, "no blocks");
  for (const int64_t b : {int64_t{0}, config->block_count - 1}) {
    for (const model::TensorSpec& spec : architecture.block_tensors(*config, b)) {
      for (const int64_t dim : spec.shape) require(dim > 0, "a shape that no tensor has");
    }
    require(!architecture.sites(*config, b).empty(), "no sites");
  }
}

}  // namespace gridquant::fuzz
