#include "engine/text/added_tokens.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "engine/text/character_classes.h"
#include "engine/text/unicode_properties.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

size_t begin_of_white_space_before(std::string_view text, size_t at) {
  while (at > 0) {
    const CodePoint c = code_point_before(text, at);
    if (!is_white_space(c.value)) break;
    at -= c.bytes;
  }
  return at;
}

size_t end_of_white_space_behind(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = code_point_at(text, at);
    if (!is_white_space(c.value)) break;
    at += c.bytes;
  }
  return at;
}

}  // namespace

StatusOr<std::vector<AddedToken>> parse_added_tokens(const JsonNode& node) {
  std::vector<AddedToken> tokens;
  if (node.is_null()) return tokens;
  GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> entries, node.array());
  for (const JsonNode& entry : entries) {
    AddedToken token;
    GQ_ASSIGN_OR_RETURN(token.content, entry.string_at("content"));
    GQ_ASSIGN_OR_RETURN(const JsonNode id, entry.child("id"));
    GQ_ASSIGN_OR_RETURN(token.id, id.token_id());
    GQ_ASSIGN_OR_RETURN(token.special, entry.bool_at("special", false));
    GQ_ASSIGN_OR_RETURN(token.normalized, entry.bool_at("normalized", !token.special));
    GQ_ASSIGN_OR_RETURN(token.lstrip, entry.bool_at("lstrip", false));
    GQ_ASSIGN_OR_RETURN(token.rstrip, entry.bool_at("rstrip", false));
    GQ_ASSIGN_OR_RETURN(token.single_word, entry.bool_at("single_word", false));
    if (token.content.empty()) continue;  // as the library does
    tokens.push_back(std::move(token));
  }
  return tokens;
}

StatusOr<AddedTokens> AddedTokens::make(std::vector<AddedToken> tokens, const Normalizer& normalizer) {
  GQ_ASSIGN_OR_RETURN(Pattern word_character, Pattern::compile("[" + class_members_of(rust_word_property()) + "]"));
  AddedTokens added(std::move(tokens), std::move(word_character));
  for (size_t i = 0; i < added.tokens_.size(); ++i) {
    const AddedToken& token = added.tokens_[i];
    if (!token.normalized) {
      insert(added.raw_, token.content, i);
      continue;
    }
    std::deque<std::string> buffers;
    GQ_ASSIGN_OR_RETURN(const std::string_view content, normalizer.apply(token.content, buffers));
    insert(added.normalized_, content, i);
  }
  return added;
}

Status AddedTokens::split_raw(std::string_view text, MatchScratch& match, PartSink sink) const {
  return split(raw_, text, match, sink);
}

Status AddedTokens::split_normalized(std::string_view text, MatchScratch& match, PartSink sink) const {
  return split(normalized_, text, match, sink);
}

void AddedTokens::insert(Trie& trie, std::string_view content, size_t token) {
  if (content.empty()) return;
  std::vector<Node>& nodes = trie.nodes;
  if (nodes.empty()) nodes.emplace_back();
  trie.can_start[static_cast<uint8_t>(content.front())] = true;
  uint32_t node = 0;
  for (const char byte : content) {
    uint32_t child = child_of(trie, node, byte);
    if (child == 0) {
      child = static_cast<uint32_t>(nodes.size());
      nodes.push_back(Node{0, nodes[node].first_child, -1, byte});
      nodes[node].first_child = child;
    }
    node = child;
  }
  if (nodes[node].token < 0) nodes[node].token = static_cast<int32_t>(token);
}

uint32_t AddedTokens::child_of(const Trie& trie, uint32_t node, char byte) {
  uint32_t child = trie.nodes[node].first_child;
  while (child != 0 && trie.nodes[child].byte != byte) child = trie.nodes[child].next_sibling;
  return child;
}

size_t AddedTokens::next_start(const Trie& trie, std::string_view text, size_t from) {
  while (from < text.size() && !trie.can_start[static_cast<uint8_t>(text[from])]) ++from;
  return from;
}

std::optional<AddedTokens::Found> AddedTokens::find(const Trie& trie, std::string_view text, size_t from) {
  if (trie.nodes.empty()) return std::nullopt;
  for (size_t begin = next_start(trie, text, from); begin < text.size(); begin = next_start(trie, text, begin + 1)) {
    std::optional<Found> longest;
    uint32_t node = child_of(trie, 0, text[begin]);
    for (size_t end = begin + 1; node != 0; ++end) {
      const int32_t token = trie.nodes[node].token;
      if (token >= 0) longest = Found{begin, end, static_cast<size_t>(token)};
      node = end < text.size() ? child_of(trie, node, text[end]) : 0;
    }
    if (longest.has_value()) return longest;
  }
  return std::nullopt;
}

Status AddedTokens::split(const Trie& trie, std::string_view text, MatchScratch& match, PartSink sink) const {
  size_t done = 0;
  size_t from = 0;
  while (const std::optional<Found> found = find(trie, text, from)) {
    from = found->end;
    const AddedToken& token = tokens_[found->token];
    if (token.single_word) {
      GQ_ASSIGN_OR_RETURN(const bool alone, stands_alone(text, *found, match));
      if (!alone) continue;
    }
    size_t begin = found->begin;
    size_t end = found->end;
    // White space that the token before took stays with it.
    if (token.lstrip) begin = std::max(begin_of_white_space_before(text, begin), done);
    if (token.rstrip) end = end_of_white_space_behind(text, end);
    if (done < begin) GQ_RETURN_IF_ERROR(sink(std::nullopt, text.substr(done, begin - done)));
    GQ_RETURN_IF_ERROR(sink(token.id, text.substr(begin, end - begin)));
    done = end;
  }
  return done < text.size() ? sink(std::nullopt, text.substr(done)) : absl::OkStatus();
}

StatusOr<bool> AddedTokens::stands_alone(std::string_view text, const Found& found, MatchScratch& match) const {
  if (found.begin > 0) {
    const size_t bytes = code_point_before(text, found.begin).bytes;
    GQ_ASSIGN_OR_RETURN(const bool is_word, is_word_character(text.substr(found.begin - bytes, bytes), match));
    if (is_word) return false;
  }
  if (found.end == text.size()) return true;
  const size_t bytes = code_point_at(text, found.end).bytes;
  GQ_ASSIGN_OR_RETURN(const bool is_word, is_word_character(text.substr(found.end, bytes), match));
  return !is_word;
}

StatusOr<bool> AddedTokens::is_word_character(std::string_view character, MatchScratch& match) const {
  GQ_ASSIGN_OR_RETURN(const Match found, word_character_.find(character, 0, match));
  return found.found;
}

}  // namespace gridquant::text
