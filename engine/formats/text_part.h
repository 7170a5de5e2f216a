// The language model inside a checkpoint that sees pictures too, read as the text model that it is:
// Gemma3ForConditionalGeneration becomes Gemma3ForCausalLM. config.json is its "text_config"; the tensors lose the
// wrapper's prefix ("language_model.model." of transformers 4, "model.language_model." of transformers 5). Tensors of
// the other parts keep their names: no text model has a use for them, and whoever lists what is left out finds them.
//
// Not here: any other wrapper (the model's configuration refuses it by name).
#pragma once

#include <nlohmann/json.hpp>

#include "engine/formats/source.h"

namespace gridquant::formats {

// True if `config`, a parsed config.json, is that of such a wrapper.
bool has_text_part(const nlohmann::json& config);

// FailedPrecondition if "text_config" is no object, or if two tensors would have one name.
StatusOr<Source> text_part_of(Source source);

}  // namespace gridquant::formats
