// SentencePiece's tokenizer.model: the message ModelProto of sentencepiece_model.proto
// (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto), as much of it as says how to
// tokenize. What is done with it: sentencepiece_tokenizer.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::text {

struct SentencePieceModel {
  enum class PieceType { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;  // UTF-8, U+2581 for a space
    float score = 0;   // higher merges first
    PieceType type = PieceType::kNormal;
  };
  enum class Algorithm { kUnigram = 1, kBpe, kWord, kCharacter };

  std::vector<Piece> pieces;  // by id
  Algorithm algorithm = Algorithm::kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string bos_piece = "<s>";
  std::string normalization;       // its name: "identity", "nmt_nfkc"
  bool has_character_map = false;  // the normalization does more than the three switches below
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

// `bytes` is the content of the file `path`. InvalidArgument for what is not such a file: says where.
StatusOr<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes, const std::string& path);

}  // namespace gridquant::text
