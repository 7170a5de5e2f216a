// What a Tokenizer is made of. Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/text/added_tokens.h"
#include "engine/text/bpe.h"
#include "engine/text/decoder.h"
#include "engine/text/json_node.h"
#include "engine/text/normalizer.h"
#include "engine/text/post_processor.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/tokenizer.h"

namespace gridquant::text {

// How an id is written: the token itself, or with a byte-level decoder the bytes it stands for; and whether it is to be
// left out as special.
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

// What the rest of the file says that the model must know.
struct ModelContext {
  const std::vector<AddedToken>& added;  // looked up in the vocabulary: one that is there must have the same id
  const Normalizer& normalizer;
  bool byte_level_words = false;    // words are bytes, the vocabulary is written in the byte-level alphabet
  bool byte_level_decoder = false;  // TokenText holds bytes
};

StatusOr<Vocabulary> parse_model(const JsonNode& model, const ModelContext& context);

struct EncodeScratch::State {
  const void* tokenizer = nullptr;  // whose words these are
  BpeCall words;
  PreTokenizer::Call call;
};

struct Tokenizer::State {
  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  PostProcessor post_processor;
  Decoder decoder;
  std::vector<TokenText> tokens;
};

}  // namespace gridquant::text
