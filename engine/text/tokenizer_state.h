// What a Tokenizer is made of. Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/text/added_tokens.h"
#include "engine/text/bpe.h"
#include "engine/text/json_node.h"
#include "engine/text/normalizer.h"
#include "engine/text/post_processor.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/tokenizer.h"

namespace gridquant::text {

// How an id is written: the bytes it stands for, and whether it is to be left out as special.
struct TokenText {
  std::string bytes;
  bool known = false;
  bool special = false;
};

// The "model" of tokenizer.json, read.
struct Vocabulary {
  BpeModel model;
  std::vector<TokenText> tokens;  // by id
  size_t count = 0;               // entries of the vocabulary, holes not counted
};

// `added` are looked up in the vocabulary: one that is there must have the same id.
StatusOr<Vocabulary> parse_model(const JsonNode& model, const std::vector<AddedToken>& added,
                                 const Normalizer& normalizer);

struct Tokenizer::State {
  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  PostProcessor post_processor;
  std::vector<TokenText> tokens;
};

}  // namespace gridquant::text
