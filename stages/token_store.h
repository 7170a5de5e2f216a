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
  nlohmann::json texts = nlohmann::json::array();  // per data set: path, language, sha256, ...

  int64_t count() const { return static_cast<int64_t>(language_of.size()); }
  std::span<const int32_t> sequence(int64_t i) const {
    return std::span<const int32_t>(ids).subspan(static_cast<size_t>(i * length), static_cast<size_t>(length));
  }
  int64_t count_of(int language) const;

  // All of it, to be sent to another rank.
  std::string serialize() const;
  static StatusOr<TokenSet> parse(const std::string& bytes);
};

// Sequences that are not read from a file, and what tokens.json says of them ("path", "language", "sha256", ...).
struct MadeSequences {
  text::Sequences sequences;
  nlohmann::json info;
};

struct TokenRequest {
  std::shared_ptr<const formats::TextFiles> texts;  // the model's: tokenizer.json and what is beside it
  int64_t vocab_size = 0;                           // ids must be below it
  std::vector<text::DatasetSpec> datasets;          // samples already shared out
  text::WindowSpec windows;
  std::vector<MadeSequences> made;  // after those of the data sets
};

// Tokenizes. FailedPrecondition: not enough text, or an id that the model has no embedding for.
StatusOr<TokenSet> make_tokens(base::Env& env, TokenRequest request);

// The elements of `with.datasets`; shares[i] samples of the i-th.
std::vector<text::DatasetSpec> parse_datasets(const nlohmann::json& datasets, const std::vector<int64_t>& shares);

text::Packing packing_of(const nlohmann::json& with);  // with.packing

// tokenizer.json and what is beside it.
text::ModelTexts model_texts(const formats::TextFiles& texts);

// What `tokens` leaves out of the files, for a warning: "ko.jsonl: 3 conversations with tools were left out". One each.
std::vector<std::string> left_out(const TokenSet& tokens);

Status write_tokens(base::Env& env, const std::string& folder, const TokenSet& tokens);
// DataLoss if the ids do not have the digest that tokens.json names.
StatusOr<TokenSet> read_tokens(base::Env& env, const std::string& folder);

}  // namespace gridquant::stages
