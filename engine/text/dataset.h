// Calibration and evaluation text -> sequences of token ids, the same for the same files, settings and seed.
//
// A sequence is a window of the text as it stands, as is usual for WikiText: what the post-processor adds (BOS) stands
// once, in front of the first token of the file, and not again at the start of every window. Windows lie back to back;
// what remains at the end is left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/env.h"
#include "engine/base/status.h"
#include "engine/text/tokenizer.h"

namespace gridquant::text {

struct DatasetSpec {
  std::string path;      // UTF-8 plain text
  std::string language;  // "en", "ko", ...
  int64_t samples = 0;   // sequences wanted; 0: as many as the text gives
};

struct Sequences {
  std::string language;
  int64_t length = 0;        // tokens of each
  std::vector<int32_t> ids;  // [count, length]
  int64_t tokens_available = 0;
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
// there are); InvalidArgument for a length below 1 and, with line and byte, for text that is not UTF-8.
StatusOr<Sequences> load_sequences(base::Env& env, const Tokenizer& tokenizer, const DatasetSpec& spec, int64_t length,
                                   uint64_t seed, bool shuffle);

// "line 12, byte 345" of the first byte that is not UTF-8, or "" if all is. Lines count from 1, bytes (of the whole
// text) from 0.
std::string find_invalid_utf8(std::string_view text);

// SHA-256 over, for each in order, its length and its number of ids (little-endian int64) and its ids (little-endian
// int32): what a report names the data by.
std::string digest_of_sequences(const std::vector<Sequences>& all);

}  // namespace gridquant::text
