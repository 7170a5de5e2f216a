// Calibration and evaluation text -> sequences of token ids, the same for the same files, settings and seed.
//
// How documents become sequences of one length ("packing"):
//
// - concatenate: the documents, one after the other, are cut into windows that lie back to back; what remains at the
// end
//   is left out. Each document stands as the tokenizer writes one, with what its post-processor adds (BOS), and ends
//   with the model's EOS where another follows, as in pre-training. So a plain text, which is one document, has BOS
//   once, in front of its first token, and not at the start of every window, as is usual for WikiText. A conversation
//   has the special tokens that its template writes and no others.
// - documents: every document of at least that many tokens gives its first ones; shorter documents are left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/text/documents.h"
#include "engine/text/tokenizer.h"

namespace gridquant::text {

struct DatasetSpec {
  DocumentsSpec documents = {};
  std::string language = {};  // "en", "ko", ...
  int64_t samples = 0;        // sequences wanted; 0: as many as the text gives
  bool chat_template = true;  // conversations through the model's template; false: their contents alone
};

enum class Packing { kConcatenate, kDocuments };

struct WindowSpec {
  int64_t length = 0;  // tokens of each sequence
  uint64_t seed = 0;
  bool shuffle = false;
  Packing packing = Packing::kConcatenate;
};

// What a model's files say about its text.
struct TextModel {
  Tokenizer tokenizer;
  StatusOr<ChatTemplate> chat;  // NotFound: the model has none
  SpecialTokens special_tokens;
};
// tokenizer.json, or SentencePiece's tokenizer.model where there is none, and what is beside it. NotFound if there is
// neither.
StatusOr<TextModel> read_text_model(const ModelTexts& texts);
// The one id of the special token `name`; nothing if there is no such token, or it is not one token.
std::optional<int32_t> special_token_id(const TextModel& model, std::string_view name);

struct Sequences {
  std::string language;
  int64_t length = 0;        // tokens of each
  std::vector<int32_t> ids;  // [count, length]
  int64_t tokens_available = 0;
  int64_t documents = 0;   // that were read
  int64_t with_tools = 0;  // conversations that were left out
  int64_t count() const { return length == 0 ? 0 : static_cast<int64_t>(ids.size()) / length; }
};

// Tokenizes the whole file, cuts it into windows of `length`, and takes `samples` of them: with `shuffle` the first
// ones after a shuffle of all windows by `seed`, otherwise the first ones of the text. samples 0: all, in the text's
// order.
//
// The shuffle, for whoever wants to repeat it: z() is splitmix64 with the state `seed` (state += 0x9E3779B97F4A7C15;
// x = state; x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9; x = (x ^ x >> 27) * 0x94D049BB133111EB; x ^ x >> 31); for i from
// count - 1 down to 1: swap window i with window j, where j = the upper 64 bits of the 128-bit product z() * (i + 1).
//
// NotFound if the file is missing; FailedPrecondition if it is empty or gives too few windows (says how many tokens
// there are); InvalidArgument for a length below 1 and, with the line, for what is malformed (documents.h).
StatusOr<Sequences> load_sequences(base::Env& env, const TextModel& model, const DatasetSpec& spec,
                                   const WindowSpec& windows);

// `samples` shared by weights, exactly: everybody's whole part, and what is left to the largest remainders, the first
// of equal ones first. InvalidArgument for a weight that is not positive, or one that gets nothing.
StatusOr<std::vector<int64_t>> share_samples(int64_t samples, const std::vector<double>& weights);

// "line 12, byte 345" of the first byte that is not UTF-8, or "" if all is. Lines count from 1, bytes (of the whole
// text) from 0.
std::string find_invalid_utf8(std::string_view text);

// SHA-256 over, for each in order, its length and its number of ids (little-endian int64) and its ids (little-endian
// int32): what a report names the data by.
std::string digest_of_sequences(const std::vector<Sequences>& all);

}  // namespace gridquant::text
