// The texts of a Hugging Face folder, out of a GGUF file's keys: what transformers would have written for the model
// that the file was made from. Parsed downstream like any other config.json. Pure: keys and tensor shapes in, text out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/formats/gguf/file.h"

namespace gridquant::formats {

// What the configuration needs of the tensors.
struct GgufFacts {
  int64_t vocab_size = 0;          // rows of token_embd
  bool has_output = false;         // output.weight is there: embeddings are not tied
  bool has_qkv_bias = false;       // blk.0.attn_q.bias
  std::vector<double> rope_freqs;  // rope_freqs.weight, or empty
  std::string dtype;               // "float32", "float16", "bfloat16": what the model should run in
};

// Architectures whose files are read: llama, qwen2, qwen3, gemma3.
std::vector<std::string> known_gguf_architectures();

// config.json. Unimplemented for an architecture, or a kind of RoPE scaling, that cannot be expressed exactly.
StatusOr<std::string> gguf_config_json(const std::map<std::string, GgufValue>& values, const GgufFacts& facts,
                                       const std::string& path);

// generation_config.json: the special tokens' numbers.
StatusOr<std::string> gguf_generation_config_json(const std::map<std::string, GgufValue>& values,
                                                  const std::string& path);

}  // namespace gridquant::formats
