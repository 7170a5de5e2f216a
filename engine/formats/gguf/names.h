// llama.cpp's names of tensors and the names that transformers gives the same ones, and what llama.cpp's converter does
// to values on the way (convert_hf_to_gguf.py): rows of Llama's q and k interleaved, Gemma's norms shifted by one.
#pragma once

#include <string>

#include "engine/base/status.h"

namespace gridquant::formats {

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; "" for a tensor that has no counterpart
// (rope_freqs.weight) or is not known. `architecture` is general.architecture.
std::string transformers_name(const std::string& architecture, const std::string& gguf_name);

// Rows of this tensor are interleaved within each head: row 2i + j of the file is row j * d/2 + i of the model.
bool has_interleaved_rows(const std::string& architecture, const std::string& gguf_name);

// The file holds 1 + w.
bool has_shifted_values(const std::string& architecture, const std::string& gguf_name);

}  // namespace gridquant::formats
