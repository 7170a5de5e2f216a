// Calibration and evaluation text -> sequences of token ids, the same for the same files, settings and seed.
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

// Tokenizes the whole file, cuts it into windows of `length`, and takes `samples` of them, chosen by `seed` (all, in
// order, when samples is 0 or `shuffle` is false: then the first ones). FailedPrecondition if there is not enough text
// (says how many tokens there are and how many are needed); InvalidArgument with line and byte for non-UTF-8.
StatusOr<Sequences> load_sequences(base::Env& env, const Tokenizer& tokenizer, const DatasetSpec& spec, int64_t length,
                                   uint64_t seed, bool shuffle);

// "line 12, byte 345" of the first byte that is not UTF-8, or "" if all is.
std::string find_invalid_utf8(std::string_view text);

// SHA-256 over all token ids (little-endian int32) and lengths, in order: what a report names the data by.
std::string digest_of_sequences(const std::vector<Sequences>& all);

}  // namespace gridquant::text
