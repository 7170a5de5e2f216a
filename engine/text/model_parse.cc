// The "model" of tokenizer.json: type BPE, over bytes or over characters.
#include <array>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/text/byte_level.h"
#include "engine/text/tokenizer_state.h"

namespace gridquant::text {
namespace {

using Ids = TextMap<std::string_view, int32_t>;  // views into the document

// Refuses what would change ids and is not done here.
Status check_options(const JsonNode& model) {
  GQ_ASSIGN_OR_RETURN(const JsonNode type, model.child("type"));
  if (!type.is_null()) {  // old files have none
    GQ_ASSIGN_OR_RETURN(const std::string name, model.type());
    if (name != "BPE") return model.unsupported("model", name);
  }
  GQ_ASSIGN_OR_RETURN(const JsonNode dropout, model.child("dropout"));
  const bool no_dropout = dropout.is_null() || (dropout.value().is_number() && dropout.value().get<double>() == 0.0);
  if (!no_dropout) return dropout.unimplemented("dropout (ids would be random) is not supported");
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    GQ_ASSIGN_OR_RETURN(const JsonNode affix, model.child(name));
    if (affix.is_null()) continue;
    GQ_ASSIGN_OR_RETURN(const std::string text, model.string_at(name));
    if (!text.empty()) return affix.unimplemented("\"" + text + "\" is not supported, only an empty one");
  }
  return absl::OkStatus();
}

StatusOr<Ids> parse_vocabulary(const JsonNode& vocab) {
  if (!vocab.value().is_object()) return vocab.malformed("an object");
  Ids ids;
  ids.reserve(vocab.value().size());
  for (const auto& item : vocab.value().items()) {
    if (!item.value().is_number_unsigned() || item.value().get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId)) {
      GQ_ASSIGN_OR_RETURN(const JsonNode entry, vocab.child(item.key()));
      return entry.token_id().status();
    }
    ids.emplace(item.key(), item.value().get<int32_t>());
  }
  return ids;
}

// What stands in for what is not a vocabulary entry: unknown tokens and bytes. Nothing is ever unknown where every byte
// has a token, so both matter only where one has none.
Status check_unknown(const JsonNode& model, const std::array<int32_t, 256>& byte_ids) {
  bool complete = true;
  for (const int32_t id : byte_ids) complete = complete && id >= 0;
  GQ_ASSIGN_OR_RETURN(const bool byte_fallback, model.bool_at("byte_fallback", false));
  GQ_ASSIGN_OR_RETURN(const JsonNode unknown, model.child("unk_token"));
  if (!unknown.is_null() && !unknown.value().is_string()) return unknown.malformed("a string");
  if (complete) return absl::OkStatus();
  if (byte_fallback) return model.unimplemented("byte_fallback of a byte-level vocabulary is not supported");
  if (!unknown.is_null()) {
    return unknown.unimplemented("an unknown token of a byte-level vocabulary is not supported");
  }
  return absl::OkStatus();
}

StatusOr<CharacterAlphabet> parse_characters(const JsonNode& model, const Ids& ids) {
  CharacterAlphabet::Fallback fallback;
  fallback.byte_ids.fill(-1);
  GQ_ASSIGN_OR_RETURN(const bool byte_fallback, model.bool_at("byte_fallback", false));
  GQ_ASSIGN_OR_RETURN(fallback.fuse_unknown, model.bool_at("fuse_unk", false));
  bool complete = byte_fallback;
  for (unsigned byte = 0; byte_fallback && byte < 256; ++byte) {
    std::array<char, 8> name{};
    std::snprintf(name.data(), name.size(), "<0x%02X>", byte);
    const auto found = ids.find(std::string_view(name.data()));
    complete = complete && found != ids.end();
    if (found != ids.end()) fallback.byte_ids[byte] = found->second;
  }
  GQ_ASSIGN_OR_RETURN(const JsonNode unknown, model.child("unk_token"));
  if (!unknown.is_null()) {
    GQ_ASSIGN_OR_RETURN(const std::string name, model.string_at("unk_token"));
    const auto found = ids.find(name);
    // Where every byte has a token nothing is unknown.
    if (found == ids.end() && !complete) return unknown.invalid("\"" + name + "\" is not in the vocabulary");
    if (found != ids.end()) fallback.unknown = found->second;
  }
  CharacterAlphabet characters(fallback);
  for (const auto& [token, id] : ids) characters.add_token(token, id);
  return characters;
}

// The two tokens of ["a", "b"] or "a b".
std::optional<std::pair<std::string_view, std::string_view>> halves_of(const nlohmann::json& entry) {
  if (entry.is_array()) {
    if (entry.size() != 2 || !entry[0].is_string() || !entry[1].is_string()) return std::nullopt;
    return std::pair<std::string_view, std::string_view>(entry[0].get_ref<const std::string&>(),
                                                         entry[1].get_ref<const std::string&>());
  }
  if (!entry.is_string()) return std::nullopt;
  const std::string_view text = entry.get_ref<const std::string&>();
  const size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) return std::nullopt;
  return std::pair(text.substr(0, space), text.substr(space + 1));
}

// `characters` (may be null) is told of each.
StatusOr<std::vector<BpeModel::Pair>> parse_merges(const JsonNode& merges, const Ids& ids,
                                                   CharacterAlphabet* characters) {
  if (!merges.value().is_array()) return merges.malformed("an array");
  std::vector<BpeModel::Pair> pairs;
  pairs.reserve(merges.value().size());
  std::string joined;
  for (size_t i = 0; i < merges.value().size(); ++i) {
    const nlohmann::json& entry = merges.value()[i];
    if (entry.is_string() && entry.get_ref<const std::string&>().starts_with("#version")) continue;
    const std::string at = "entry " + std::to_string(i);
    const auto halves = halves_of(entry);
    if (!halves.has_value()) return merges.invalid(at + " is neither \"a b\" nor [\"a\", \"b\"]");
    joined.assign(halves->first).append(halves->second);
    const auto left = ids.find(halves->first);
    const auto right = ids.find(halves->second);
    const auto merged = ids.find(joined);
    for (const auto& [found, token] : {std::pair(left, halves->first), std::pair(right, halves->second),
                                       std::pair(merged, std::string_view(joined))}) {
      if (found == ids.end()) {
        return merges.invalid(at + " needs the token \"" + std::string(token) + "\", which is not in the vocabulary");
      }
    }
    pairs.push_back({left->second, right->second, merged->second, static_cast<uint32_t>(pairs.size())});
    if (characters != nullptr) characters->add_merge(halves->first, halves->second);
  }
  return pairs;
}

// The library numbers added tokens itself and only warns when the file says otherwise. A file that disagrees would
// mean different ids to different readers.
Status check_added_ids(const JsonNode& model, const std::vector<AddedToken>& added, const Ids& ids) {
  TextMap<std::string_view, const AddedToken*> seen;
  int64_t largest = -1;
  for (const AddedToken& token : added) {
    const auto [before, is_new] = seen.emplace(token.content, &token);
    if (!is_new) {
      if (*before->second == token) continue;
      return model.invalid("added token \"" + token.content + "\" is listed twice, differently");
    }
    const auto in_model = ids.find(token.content);
    const int64_t size = static_cast<int64_t>(ids.size());
    const int64_t expected = in_model != ids.end() ? in_model->second : (largest >= size ? largest + 1 : size);
    if (expected != token.id) {
      return model.invalid("added token \"" + token.content + "\" has id " + std::to_string(token.id) + " but " +
                           (in_model != ids.end() ? "the vocabulary gives it " : "the next free id is ") +
                           std::to_string(expected));
    }
    largest = std::max<int64_t>(largest, token.id);
  }
  return absl::OkStatus();
}

StatusOr<std::vector<TokenText>> token_texts(const JsonNode& vocab, const Ids& ids, const ModelContext& context) {
  const std::vector<AddedToken>& added = context.added;
  const auto bytes_of = [&](std::string_view token) {
    return context.byte_level_decoder ? bytes_of_byte_level(token).value_or(std::string(token)) : std::string(token);
  };
  int32_t largest = -1;
  for (const auto& [token, id] : ids) largest = std::max(largest, id);
  for (const AddedToken& token : added) largest = std::max(largest, token.id);
  std::vector<TokenText> texts(static_cast<size_t>(largest) + 1);
  for (const auto& [token, id] : ids) {
    TokenText& text = texts[static_cast<size_t>(id)];
    if (text.known) return vocab.invalid("two tokens have the id " + std::to_string(id));
    text = {bytes_of(token), true, false};
  }
  for (const AddedToken& token : added) {
    // The library writes a normalized token as its normal form, and knows special ones by their original text.
    std::deque<std::string> buffers;
    std::string_view content = token.content;
    if (token.normalized) {
      GQ_ASSIGN_OR_RETURN(content, context.normalizer.apply(content, buffers));
    }
    texts[static_cast<size_t>(token.id)] = {bytes_of(content), true, token.special && content == token.content};
  }
  return texts;
}

}  // namespace

StatusOr<Vocabulary> parse_model(const JsonNode& model, const ModelContext& context) {
  if (!model.value().is_object()) return model.malformed("an object");
  GQ_RETURN_IF_ERROR(check_options(model));
  GQ_ASSIGN_OR_RETURN(const JsonNode vocab, model.child("vocab"));
  GQ_ASSIGN_OR_RETURN(const Ids ids, parse_vocabulary(vocab));
  BpeModel::Options options;
  options.byte_ids.fill(-1);
  GQ_ASSIGN_OR_RETURN(options.ignore_merges, model.bool_at("ignore_merges", false));
  TextMap<std::string, int32_t> words;
  if (options.ignore_merges) words.reserve(ids.size());
  for (const auto& [token, id] : ids) {
    std::optional<std::string> word =
        context.byte_level_words ? bytes_of_byte_level(token) : std::optional(std::string(token));
    if (!word.has_value()) continue;
    if (context.byte_level_words && word->size() == 1) options.byte_ids[static_cast<uint8_t>(word->front())] = id;
    if (options.ignore_merges) words.emplace(*std::move(word), id);
  }
  std::shared_ptr<CharacterAlphabet> characters;
  if (context.byte_level_words) {
    GQ_RETURN_IF_ERROR(check_unknown(model, options.byte_ids));
  } else {
    GQ_ASSIGN_OR_RETURN(CharacterAlphabet made, parse_characters(model, ids));
    characters = std::make_shared<CharacterAlphabet>(std::move(made));
  }
  GQ_RETURN_IF_ERROR(check_added_ids(model, context.added, ids));
  GQ_ASSIGN_OR_RETURN(const JsonNode merges, model.child("merges"));
  GQ_ASSIGN_OR_RETURN(const std::vector<BpeModel::Pair> pairs, parse_merges(merges, ids, characters.get()));
  options.characters = std::move(characters);
  GQ_ASSIGN_OR_RETURN(std::vector<TokenText> texts, token_texts(vocab, ids, context));
  return Vocabulary{BpeModel(options, pairs, std::move(words)), std::move(texts), ids.size()};
}

}  // namespace gridquant::text
