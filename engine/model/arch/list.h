// Inside engine/model only: the architectures' objects, one per file in arch/. Each is stateless and lives for ever.
#pragma once

#include "engine/model/architecture.h"

namespace gridquant::model {

const Architecture& llama_architecture();
const Architecture& mixtral_architecture();
const Architecture& mistral_architecture();
const Architecture& qwen2_architecture();
const Architecture& qwen3_architecture();
const Architecture& gemma2_architecture();
const Architecture& gemma3_architecture();
const Architecture& phi3_architecture();
const Architecture& qwen3_moe_architecture();

}  // namespace gridquant::model
