// A GGUF model as a source: tensors under transformers' names, in its row order and with its values; the texts of a
// Hugging Face folder made from the keys. Version 2 and 3 files of the architectures llama, qwen2, qwen3 and gemma3.
#pragma once

#include <string>

#include "engine/formats/source.h"

namespace gridquant::formats {

// `path` is a .gguf file or any part of a split one. Tensors of block types are computed with as ggml dequantizes them,
// and kept as F16. That loses nothing that matters: every such value is a multiple of 2^-24, so small ones are exact,
// and the others are rounded by at most 2^-12 of their size, a sixteenth of half a step of the finest block type (Q8_0)
// at its largest value. BF16 would err by eight times as much; F32 would double the size for no information.
StatusOr<Source> open_gguf(base::Env& env, const std::string& path);

// The one model that the .gguf files of `folder` make up; "" if there is none. FailedPrecondition lists several.
StatusOr<std::string> find_gguf(base::Env& env, const std::string& folder);

}  // namespace gridquant::formats
