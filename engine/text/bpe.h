// Byte pair encoding: a word's bytes (byte-level vocabularies) or characters (SentencePiece's) -> token ids. Splitting
// text into words is done before, see pre_tokenizer.h. A BpeModel is immutable and thread-safe; a BpeCall belongs to
// one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/character_alphabet.h"
#include "engine/text/text_map.h"

namespace gridquant::text {

// (left id, right id) -> what they merge to. Open addressing: the lookup is the innermost loop of encoding.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = UINT32_MAX;  // lower merges first
    int32_t id = -1;
  };
  explicit MergeTable(size_t count);
  void insert(int32_t left, int32_t right, Merge merge);  // a pair given twice: the last one counts
  Merge find(int32_t left, int32_t right) const;          // rank UINT32_MAX: they do not merge

 private:
  struct Slot {
    uint64_t key = UINT64_MAX;
    Merge merge;
  };
  size_t slot_of(uint64_t key) const;
  int shift_ = 0;
  std::vector<Slot> slots_;
};

// The words of one model that were seen so far, with their ids (bounded), and scratch for merging. Owns what it holds,
// and may be used for any number of texts.
class BpeCall {
 public:
  void begin(size_t text_bytes);  // a text of this size comes: empties ids, remembers the words
  void forget();                  // for another model
  std::vector<int32_t> ids;       // the output

 private:
  friend class BpeModel;
  static constexpr size_t kMaxWord = 56;  // bytes of a word that is remembered: two cache lines a word in all
  static constexpr size_t kMaxIds = 16;
  struct Word {
    uint32_t tag = 0;  // upper half of the hash
    uint8_t bytes = 0;
    uint8_t count = 0;
    std::array<char, kMaxWord> text{};
    std::array<int32_t, kMaxIds> ids{};
  };
  struct Symbol {
    int32_t id = 0;
    uint32_t previous = 0;
    uint32_t next = 0;
  };
  std::vector<Word> words_;  // direct-mapped; as many as the texts so far are worth
  size_t bytes_seen_ = 0;
  std::vector<int32_t> parts_;
  std::vector<MergeTable::Merge> merges_;
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> queue_;
};

class BpeModel {
 public:
  struct Pair {
    int32_t left = 0;
    int32_t right = 0;
    int32_t merged = 0;
    uint32_t rank = 0;  // lower merges first; of equal ones the leftmost
  };
  struct Options {
    std::array<int32_t, 256> byte_ids;  // -1: the byte has no token and is left out, as the library does
    bool ignore_merges = false;         // a word that is a token is that token, whatever the merges say
    // Set: words start from their characters, and byte_ids are not used.
    std::shared_ptr<const CharacterAlphabet> characters;
  };
  // `words` maps the bytes of every token to its id (needed with ignore_merges only).
  BpeModel(const Options& options, const std::vector<Pair>& merges, TextMap<std::string, int32_t> words);

  // Appends the ids of `word` to call.ids. Over characters it must be UTF-8.
  void encode(std::string_view word, BpeCall& call) const;

 private:
  void encode_piece(std::string_view piece, BpeCall& call) const;
  void encode_new(std::string_view word, BpeCall& call) const;
  void merge_short(BpeCall& call) const;
  void merge_long(BpeCall& call) const;
  Options options_;
  MergeTable merges_;
  TextMap<std::string, int32_t> words_;
};

}  // namespace gridquant::text
