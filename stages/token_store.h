// The calibration tokens that calibrate leaves for quantize and validate: tokens.bin (int32, little-endian) and
// tokens.json (what they are).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/formats/source.h"
#include "engine/text/dataset.h"

namespace gridquant::stages {

// Sequences of equal length from several texts, interleaved: first of each, second of each, and so on.
struct TokenSet {
  int64_t length = 0;                              // tokens of each sequence
  std::vector<int32_t> ids;                        // [count, length]
  std::vector<std::string> languages;              // in order of first appearance
  std::vector<int> language_of;                    // index into `languages`, per sequence
  std::string digest;                              // text::digest_of_sequences
  nlohmann::json texts = nlohmann::json::array();  // per data set: path, language, sha256, sequences, tokens_available

  int64_t count() const { return static_cast<int64_t>(language_of.size()); }
  std::span<const int32_t> sequence(int64_t i) const {
    return std::span<const int32_t>(ids).subspan(static_cast<size_t>(i * length), static_cast<size_t>(length));
  }
  int64_t count_of(int language) const;
};

struct TokenRequest {
  std::shared_ptr<const formats::TextFiles> texts;  // the model's, for tokenizer.json
  int64_t vocab_size = 0;                           // ids must be below it
  std::vector<text::DatasetSpec> datasets;          // samples already shared out
  int64_t length = 0;
  uint64_t seed = 0;
  bool shuffle = false;
};

// tokenizer.json, or SentencePiece's tokenizer.model where there is none. NotFound if there is neither.
StatusOr<text::Tokenizer> load_tokenizer(const formats::TextFiles& texts);

// Tokenizes. FailedPrecondition: not enough text, or an id that the model has no embedding for.
StatusOr<TokenSet> make_tokens(base::Env& env, const TokenRequest& request);

// The elements of `with.datasets`; with samples > 0 shared equally, the remainder to the first ones.
std::vector<text::DatasetSpec> parse_datasets(const nlohmann::json& datasets, int64_t samples);

Status write_tokens(base::Env& env, const std::string& folder, const TokenSet& tokens);
// DataLoss if the ids do not have the digest that tokens.json names.
StatusOr<TokenSet> read_tokens(base::Env& env, const std::string& folder);

}  // namespace gridquant::stages
