// A LoRA adapter (PEFT folder: adapter_config.json, adapter_model.safetensors) merged into a source while it is read:
// W + s (B A), s = alpha / r, or alpha / sqrt(r) with use_rslora (Hu et al. 2021; Kalajdzievski 2023). As PEFT's
// merge_and_unload in fp32: the product first, then times s, then added. Sums over r run in order, so the bits are the
// same everywhere; PEFT's product may sum in another order, so the two differ by a few units in the last place of B A.
// A weight that is kept is merged in fp32 and rounded once to the base's type.
//
// Tensors that the adapter holds whole (modules_to_save, trained biases) replace the base's. Refused by name: DoRA,
// LoRA of embeddings, LoRA with its own bias, trained single tokens, initialisations that change the base as well, and
// other methods than LoRA.
#pragma once

#include <string>

#include "engine/formats/source.h"

namespace gridquant::formats {

// `folder` is the adapter's. FailedPrecondition lists what does not fit the base: modules that it does not have, other
// shapes.
StatusOr<Source> apply_adapter(base::Env& env, Source base, const std::string& folder);

}  // namespace gridquant::formats
