// A SentencePiece model as a Tokenizer: BPE over characters with the scores as ranks. Not through tokenizer.json as
// converters make it: there, merges of the same score come in another order, which shows in runs of spaces.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "engine/text/byte_level.h"
#include "engine/text/sentencepiece.h"
#include "engine/text/tokenizer_state.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

using Model = SentencePieceModel;
using PieceType = Model::PieceType;
using Ids = TextMap<std::string_view, int32_t>;

constexpr const char* kSpace = "\xE2\x96\x81";  // U+2581

Status refuse(const std::string& path, const std::string& what) {
  return absl::UnimplementedError(path + ": " + what +
                                  " is not supported; a tokenizer.json in the folder would be read");
}

Status check_supported(const Model& model, const std::string& path) {
  static constexpr const char* kAlgorithms[] = {"", "unigram", "BPE", "word", "character"};
  if (model.algorithm != Model::Algorithm::kBpe) {
    return refuse(path, std::string("a SentencePiece model of type ") + kAlgorithms[static_cast<int>(model.algorithm)]);
  }
  if (model.has_character_map) return refuse(path, "the normalization \"" + model.normalization + "\"");
  if (model.whitespace_as_suffix) return refuse(path, "treat_whitespace_as_suffix");
  if (!model.escape_whitespaces) return refuse(path, "a model that does not escape white space");
  for (const Model::Piece& piece : model.pieces) {
    if (piece.type == PieceType::kUnused) return refuse(path, "the unused piece \"" + piece.text + "\"");
  }
  return absl::OkStatus();
}

// Pieces that merging can make or start from.
StatusOr<Ids> normal_pieces(const Model& model, const std::string& path) {
  Ids all;
  Ids normal;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Model::Piece& piece = model.pieces[id];
    if (!all.emplace(piece.text, static_cast<int32_t>(id)).second) {
      return absl::InvalidArgumentError(path + ": the piece \"" + piece.text + "\" stands there twice");
    }
    if (piece.type == PieceType::kNormal) normal.emplace(piece.text, static_cast<int32_t>(id));
  }
  return normal;
}

StatusOr<CharacterAlphabet> characters_of(const Model& model, const Ids& normal, const std::string& path) {
  CharacterAlphabet::Fallback fallback;
  fallback.byte_ids.fill(-1);
  fallback.fuse_unknown = true;
  size_t bytes = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Model::Piece& piece = model.pieces[id];
    if (piece.type == PieceType::kUnknown) fallback.unknown = static_cast<int32_t>(id);
    if (piece.type != PieceType::kByte || !model.byte_fallback) continue;
    const std::optional<char> byte = byte_of_token(piece.text);
    if (!byte.has_value()) {
      return absl::InvalidArgumentError(path + ": the byte piece \"" + piece.text + "\" is not like <0x0A>");
    }
    fallback.byte_ids[static_cast<uint8_t>(*byte)] = static_cast<int32_t>(id);
    ++bytes;
  }
  if (model.byte_fallback && bytes != 256) {
    return absl::InvalidArgumentError(path + ": byte_fallback with " + std::to_string(bytes) + " byte pieces, not 256");
  }
  if (fallback.unknown < 0) return absl::InvalidArgumentError(path + ": no unknown piece");
  CharacterAlphabet characters(fallback);
  for (const auto& [text, id] : normal) characters.add_token(text, id);
  return characters;
}

// Two pieces merge whenever what they make is a piece; its score says when. Equal scores are equal ranks: leftmost
// first.
StatusOr<std::vector<BpeModel::Pair>> merges_of(const Model& model, const Ids& normal, const std::string& path,
                                                CharacterAlphabet& characters) {
  std::vector<float> scores;
  for (const auto& [text, id] : normal) scores.push_back(model.pieces[static_cast<size_t>(id)].score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<BpeModel::Pair> pairs;
  for (const auto& [text, id] : normal) {
    const float score = model.pieces[static_cast<size_t>(id)].score;
    const auto rank = std::lower_bound(scores.begin(), scores.end(), score, std::greater<>()) - scores.begin();
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = code_point_at(text, at);
      if (!characters.has(c.value)) {
        return refuse(path, "the piece \"" + std::string(text) + "\", which has a character that is no piece,");
      }
      at += c.bytes;
      const auto left = normal.find(text.substr(0, at));
      const auto right = normal.find(text.substr(at));
      if (at == text.size() || left == normal.end() || right == normal.end()) continue;
      pairs.push_back({left->second, right->second, id, static_cast<uint32_t>(rank)});
      characters.add_merge(left->first, right->first);
    }
  }
  return pairs;
}

// What the library takes away at the end is U+2581, whatever it was before.
StatusOr<Normalizer> normalizer_of(const Model& model) {
  Normalizer normalizer;
  if (model.remove_extra_whitespaces) {
    GQ_ASSIGN_OR_RETURN(Pattern extra, Pattern::compile(R"(\A +| +(?= ))"));
    normalizer.add_replace(std::move(extra), "");
  }
  if (model.add_dummy_prefix) normalizer.add_prepend(kSpace);
  normalizer.add_replace(" ", kSpace);
  if (model.remove_extra_whitespaces) {
    GQ_ASSIGN_OR_RETURN(Pattern last, Pattern::compile(R"(\x{2581}+\z)"));
    normalizer.add_replace(std::move(last), "");
  }
  return normalizer;
}

}  // namespace

StatusOr<Tokenizer> Tokenizer::parse_sentencepiece(std::string_view bytes, const std::string& path, bool with_bos) {
  GQ_ASSIGN_OR_RETURN(const Model model, parse_sentencepiece_model(bytes, path));
  GQ_RETURN_IF_ERROR(check_supported(model, path));
  GQ_ASSIGN_OR_RETURN(const Ids normal, normal_pieces(model, path));
  GQ_ASSIGN_OR_RETURN(CharacterAlphabet alphabet, characters_of(model, normal, path));
  GQ_ASSIGN_OR_RETURN(const std::vector<BpeModel::Pair> pairs, merges_of(model, normal, path, alphabet));
  BpeModel::Options options;
  options.byte_ids.fill(-1);
  options.characters = std::make_shared<const CharacterAlphabet>(std::move(alphabet));

  std::vector<TokenText> texts;
  std::vector<AddedToken> user_defined;
  PostProcessor post_processor;
  for (const Model::Piece& piece : model.pieces) {
    const int32_t id = static_cast<int32_t>(texts.size());
    const bool control = piece.type == PieceType::kControl;
    texts.push_back({piece.text, true, control || piece.type == PieceType::kUnknown});
    if (with_bos && control && piece.text == model.bos_piece) post_processor = PostProcessor::with_bos(id);
    if (piece.type != PieceType::kUserDefined) continue;
    AddedToken token;
    token.content = piece.text;
    token.id = id;
    token.normalized = true;
    user_defined.push_back(std::move(token));
  }
  GQ_ASSIGN_OR_RETURN(Normalizer normalizer, normalizer_of(model));
  // User-defined pieces stand in the normalized text as they are.
  GQ_ASSIGN_OR_RETURN(AddedTokens added, AddedTokens::make(std::move(user_defined), Normalizer()));
  return Tokenizer(std::make_unique<State>(State{std::move(normalizer), std::move(added), PreTokenizer(),
                                                 BpeModel(options, pairs, {}), std::move(post_processor),
                                                 Decoder::sentencepiece(model.add_dummy_prefix), std::move(texts)}));
}

}  // namespace gridquant::text
