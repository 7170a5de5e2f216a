// What a word of a vocabulary over characters (SentencePiece's, as Gemma, Mistral and Llama 2 have it) starts from
// before merging: a token for each character, the tokens <0x00> ... <0xFF> of its bytes for one that has none, or the
// unknown token. The byte-level counterpart is an array in bpe.h.
//
// Such texts come as one word of a whole paragraph; next_cut() finds where no merge can ever reach across, so that
// they can be merged, and remembered, word by word. Immutable and thread-safe once filled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

namespace gridquant::text {

class CharacterAlphabet {
 public:
  struct Fallback {
    std::array<int32_t, 256> byte_ids;  // of <0x00> ...; -1: none
    int32_t unknown = -1;               // -1: what has no token is left out, as the library does
    bool fuse_unknown = false;          // neighbours become one unknown token
  };
  explicit CharacterAlphabet(const Fallback& fallback) : fallback_(fallback) {}

  // While it is filled: every token, and the two texts of every merge.
  void add_token(std::string_view token, int32_t id);
  void add_merge(std::string_view left, std::string_view right);

  bool has(char32_t character) const { return find(character) >= 0; }
  // Appends the first symbols of `word`, which is UTF-8.
  void append_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  // The end of the piece of `text` that starts at `from`: in front of the next U+2581 (which stands for a space) that
  // no merge joins to the character before it, or the end of the text.
  size_t next_cut(std::string_view text, size_t from) const;

 private:
  int32_t find(char32_t character) const;
  bool append_bytes(std::string_view character, std::vector<int32_t>& symbols) const;

  Fallback fallback_;
  absl::flat_hash_map<char32_t, int32_t> ids_;
  absl::flat_hash_set<char32_t> joined_to_space_;  // last characters of left halves whose right half begins with U+2581
};

}  // namespace gridquant::text
