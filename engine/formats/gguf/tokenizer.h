// tokenizer.json and tokenizer_config.json out of a GGUF file's keys, as transformers' own conversion makes them: the
// same ids for the same text as the tokenizer that the file was made from. Two kinds: "gpt2", byte-level BPE, whose
// pre-tokenizer the file only names (tokenizer.ggml.pre); "llama", SentencePiece BPE with scores, which becomes BPE
// with byte fallback and merges in the order of the scores. Pure: keys in, text out.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/base/status.h"
#include "engine/formats/gguf/file.h"

namespace gridquant::formats {

// Unimplemented for another kind, or a pre-tokenizer that is not in the table; the message lists the known ones.
StatusOr<std::string> gguf_tokenizer_json(const std::map<std::string, GgufValue>& values, const std::string& path);

// Special tokens and the chat template.
StatusOr<std::string> gguf_tokenizer_config_json(const std::map<std::string, GgufValue>& values,
                                                 const std::string& path);

// The "pre_tokenizer" of tokenizer.json for a name of tokenizer.ggml.pre; null if it is not known.
nlohmann::ordered_json gguf_pre_tokenizer(const std::string& name);
std::vector<std::string> known_gguf_pre_tokenizers();

// Pairs of tokens that SentencePiece would join, the best first: every way to cut every token into two others, by the
// token's rank (lower is joined first), then by length of the left part, longer first, as transformers orders them.
// `rank_of` goes with `tokens`.
std::vector<std::pair<std::string, std::string>> gguf_merges(const std::vector<std::string>& tokens,
                                                             const std::vector<double>& rank_of);

}  // namespace gridquant::formats
