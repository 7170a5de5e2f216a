// The "added_tokens" of tokenizer.json: texts that are one token wherever they stand. Found before (those that are not
// "normalized") or after the normalizer ran; leftmost first, then longest. Immutable and thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/status.h"
#include "engine/text/json_node.h"
#include "engine/text/normalizer.h"
#include "engine/text/pattern.h"

namespace gridquant::text {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool normalized = false;   // looked for in the normalized text, and itself normalized for that
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool single_word = false;  // only where no word character is beside it

  bool operator==(const AddedToken&) const = default;
};

StatusOr<std::vector<AddedToken>> parse_added_tokens(const JsonNode& node);

class AddedTokens {
 public:
  static StatusOr<AddedTokens> make(std::vector<AddedToken> tokens, const Normalizer& normalizer);

  const std::vector<AddedToken>& all() const { return tokens_; }

  // The parts of `text`, in order: a token's id, or none and text between tokens (never empty).
  using PartSink = absl::FunctionRef<Status(std::optional<int32_t> id, std::string_view part)>;
  Status split_raw(std::string_view text, MatchScratch& match, PartSink sink) const;
  Status split_normalized(std::string_view text, MatchScratch& match, PartSink sink) const;

 private:
  struct Node {
    uint32_t first_child = 0;
    uint32_t next_sibling = 0;
    int32_t token = -1;  // index into tokens_ of what ends here
    char byte = 0;
  };
  struct Found {
    size_t begin = 0;
    size_t end = 0;
    size_t token = 0;
  };
  // Over bytes; the children of a node are a list. nodes[0] is the root; no nodes: nothing to find.
  struct Trie {
    std::vector<Node> nodes;
    std::array<bool, 256> can_start{};
  };

  AddedTokens(std::vector<AddedToken> tokens, Pattern word_character)
      : tokens_(std::move(tokens)), word_character_(std::move(word_character)) {}
  static void insert(Trie& trie, std::string_view content, size_t token);
  static uint32_t child_of(const Trie& trie, uint32_t node, char byte);  // 0: none
  static size_t next_start(const Trie& trie, std::string_view text, size_t from);
  static std::optional<Found> find(const Trie& trie, std::string_view text, size_t from);
  Status split(const Trie& trie, std::string_view text, MatchScratch& match, PartSink sink) const;
  StatusOr<bool> stands_alone(std::string_view text, const Found& found, MatchScratch& match) const;
  StatusOr<bool> is_word_character(std::string_view character, MatchScratch& match) const;

  std::vector<AddedToken> tokens_;
  Pattern word_character_;
  Trie raw_;
  Trie normalized_;
};

}  // namespace gridquant::text
