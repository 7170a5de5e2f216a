#include "engine/text/character_alphabet.h"

#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581
constexpr char32_t kSpaceCharacter = 0x2581;

}  // namespace

void CharacterAlphabet::add_token(std::string_view token, int32_t id) {
  if (token.empty()) return;
  const CodePoint first = code_point_at(token, 0);
  if (first.bytes == token.size()) ids_[first.value] = id;
}

void CharacterAlphabet::add_merge(std::string_view left, std::string_view right) {
  if (!left.empty() && right.starts_with(kSpace)) joined_to_space_.insert(code_point_before(left, left.size()).value);
}

int32_t CharacterAlphabet::find(char32_t character) const {
  const auto found = ids_.find(character);
  return found == ids_.end() ? -1 : found->second;
}

bool CharacterAlphabet::append_bytes(std::string_view character, std::vector<int32_t>& symbols) const {
  for (const char byte : character) {
    if (fallback_.byte_ids[static_cast<uint8_t>(byte)] < 0) return false;
  }
  for (const char byte : character) symbols.push_back(fallback_.byte_ids[static_cast<uint8_t>(byte)]);
  return true;
}

// An unknown token is held back until a character with a token of its own, as the library does: bytes may overtake it.
void CharacterAlphabet::append_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  bool pending = false;
  for (size_t i = 0; i < word.size();) {
    const CodePoint c = code_point_at(word, i);
    const std::string_view character = word.substr(i, c.bytes);
    i += c.bytes;
    const int32_t id = find(c.value);
    if (id >= 0) {
      if (pending) symbols.push_back(fallback_.unknown);
      pending = false;
      symbols.push_back(id);
      continue;
    }
    if (append_bytes(character, symbols) || fallback_.unknown < 0) continue;
    if (pending && !fallback_.fuse_unknown) symbols.push_back(fallback_.unknown);
    pending = true;
  }
  if (pending) symbols.push_back(fallback_.unknown);
}

size_t CharacterAlphabet::next_cut(std::string_view text, size_t from) const {
  if (!has(kSpaceCharacter)) return text.size();  // an unknown token could be held back across the cut
  for (size_t at = text.find(kSpace, from + 1); at != std::string_view::npos; at = text.find(kSpace, at + 1)) {
    if (!joined_to_space_.contains(code_point_before(text, at).value)) return at;
  }
  return text.size();
}

}  // namespace gridquant::text
