#include "engine/formats/gguf/tokenizer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace gridquant::formats {
namespace {

using nlohmann::ordered_json;

// Kinds of tokens, as numbered in tokenizer.ggml.token_type.
enum Kind : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };

constexpr char kSpace[] = "\u2581";  // what SentencePiece writes for a space
constexpr char kPrefix[] = "tokenizer.ggml.";

class TokenizerMaker {
 public:
  TokenizerMaker(const std::map<std::string, GgufValue>& values, const std::string& path) : keys_(values, path) {}

  StatusOr<std::string> make() {
    const std::string kind = keys_.text("tokenizer.ggml.model", "");
    if (kind != "gpt2" && kind != "llama") {
      keys_.refuse(absl::StrCat("a tokenizer of kind \"", kind,
                                "\" is not read from GGUF; known: gpt2 (byte-level BPE), ",
                                "llama (SentencePiece BPE)"));
    }
    read_vocabulary(kind == "llama");
    GQ_RETURN_IF_ERROR(keys_.status());
    ordered_json root = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
    root["added_tokens"] = added_tokens();
    if (kind == "gpt2") {
      byte_level(root);
    } else {
      sentence_piece(root);
    }
    GQ_RETURN_IF_ERROR(keys_.status());
    return root.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }

 private:
  void read_vocabulary(bool sentence_piece) {
    const auto* tokens = keys_.texts("tokenizer.ggml.tokens");
    if (tokens == nullptr) {
      keys_.fail("it has no vocabulary (tokenizer.ggml.tokens)");
      return;
    }
    tokens_ = *tokens;
    const auto* kinds = keys_.integers("tokenizer.ggml.token_type");
    kinds_ = kinds == nullptr ? std::vector<int64_t>(tokens_.size(), kNormal) : *kinds;
    if (kinds_.size() != tokens_.size()) {
      keys_.fail(absl::StrCat("it has ", tokens_.size(), " tokens but ", kinds_.size(), " kinds of tokens"));
      return;
    }
    std::set<std::string_view> seen;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      // Runs of spaces are stored as real ones, but stand in the model as what every other space becomes.
      if (sentence_piece && !tokens_[i].empty() && tokens_[i].find_first_not_of(' ') == std::string::npos) {
        const size_t spaces = tokens_[i].size();
        tokens_[i].clear();
        for (size_t s = 0; s < spaces; ++s) tokens_[i] += kSpace;
      }
      if (!is_utf8(tokens_[i])) keys_.fail(absl::StrCat("token ", i, " is not UTF-8"));
      if (!seen.insert(tokens_[i]).second)
        keys_.fail(absl::StrCat("token ", i, " \"", tokens_[i], "\" is there twice"));
    }
  }

  static bool is_utf8(const std::string& text) {
    return ordered_json(text).dump(-1, ' ', false, ordered_json::error_handler_t::ignore) ==
           ordered_json(text).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  }

  ordered_json added_tokens() const {
    ordered_json added = ordered_json::array();
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const bool special = kinds_[i] == kControl || kinds_[i] == kUnknown;
      if ((!special && kinds_[i] != kUserDefined) || tokens_[i].empty()) continue;
      added.push_back({{"id", i},
                       {"content", tokens_[i]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", special}});
    }
    return added;
  }

  ordered_json vocabulary() const {
    ordered_json::object_t vocabulary;
    vocabulary.reserve(tokens_.size());
    // Unlike operator[], which would look through all that is there.
    for (size_t i = 0; i < tokens_.size(); ++i) vocabulary.emplace_back(tokens_[i], i);
    return vocabulary;
  }

  ordered_json bpe() const {
    return {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false}};
  }

  // "left right": a space inside a part is written in the byte alphabet, so the first one separates.
  ordered_json file_merges() {
    ordered_json merges = ordered_json::array();
    const auto* lines = keys_.texts("tokenizer.ggml.merges");
    if (lines == nullptr) {
      keys_.fail("it has no merges (tokenizer.ggml.merges)");
      return merges;
    }
    for (size_t i = 0; i < lines->size(); ++i) {
      const std::string& line = (*lines)[i];
      const size_t space = line.find(' ', 1);
      if (space == std::string::npos || space + 1 >= line.size()) {
        keys_.fail(absl::StrCat("merge ", i, " \"", line, "\" is not two parts"));
        return merges;
      }
      merges.push_back({line.substr(0, space), line.substr(space + 1)});
    }
    return merges;
  }

  void byte_level(ordered_json& root) {
    const std::string pre = keys_.text("tokenizer.ggml.pre", "");
    const ordered_json cut = gguf_pre_tokenizer(pre);
    if (cut.is_null()) {
      keys_.refuse(absl::StrCat("its pre-tokenizer \"", pre, "\" (tokenizer.ggml.pre) is not known; known: ",
                                absl::StrJoin(known_gguf_pre_tokenizers(), ", "),
                                "; use the model's Hugging Face folder"));
      return;
    }
    const ordered_json plain = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
    root["normalizer"] = nullptr;
    root["pre_tokenizer"] = cut;
    root["post_processor"] = with_bos(keys_.flag("tokenizer.ggml.add_bos_token", false), plain);
    root["decoder"] = plain;
    root["model"] = bpe();
    root["model"]["ignore_merges"] = pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3" || pre == "tekken";
    root["model"]["vocab"] = vocabulary();
    root["model"]["merges"] = file_merges();
  }

  void sentence_piece(ordered_json& root) {
    const std::string architecture = keys_.text("general.architecture", "");
    const bool gemma = architecture.starts_with("gemma");
    const bool prefix = keys_.flag("tokenizer.ggml.add_space_prefix", !gemma);
    const ordered_json spaces = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}};
    ordered_json decoders = ordered_json::array();
    decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}});
    decoders.push_back({{"type", "ByteFallback"}});
    decoders.push_back({{"type", "Fuse"}});
    root["normalizer"] = spaces;
    if (prefix) {
      ordered_json steps = ordered_json::array();
      steps.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
      steps.push_back(spaces);
      root["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    root["pre_tokenizer"] = nullptr;
    root["post_processor"] = with_bos(keys_.flag("tokenizer.ggml.add_bos_token", true), nullptr);
    root["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
    ordered_json model = bpe();
    const int64_t unknown = keys_.integer("tokenizer.ggml.unknown_token_id", -1);
    if (is_token(unknown)) model["unk_token"] = tokens_[static_cast<size_t>(unknown)];
    model["fuse_unk"] = true;
    model["byte_fallback"] = true;
    model["vocab"] = vocabulary();
    model["merges"] = keys_.has("tokenizer.ggml.merges") ? file_merges() : score_merges(gemma);
    root["model"] = std::move(model);
  }

  // Gemma's scores do not follow the order of its merges; the order of its vocabulary does.
  ordered_json score_merges(bool by_place) {
    const auto* scores = keys_.numbers("tokenizer.ggml.scores");
    if (scores == nullptr || scores->size() != tokens_.size()) {
      keys_.fail("it has neither merges nor a score for every token (tokenizer.ggml.scores)");
      return nullptr;
    }
    std::vector<double> ranks(tokens_.size());
    for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = by_place ? static_cast<double>(i) : -(*scores)[i];
    if (std::any_of(ranks.begin(), ranks.end(), [](double r) { return r != r; })) {
      keys_.fail("a score of a token is not a number (tokenizer.ggml.scores)");
      return nullptr;
    }
    ordered_json merges = ordered_json::array();
    for (auto& [left, right] : gguf_merges(tokens_, ranks)) merges.push_back({std::move(left), std::move(right)});
    return merges;
  }

  bool is_token(int64_t id) const { return id >= 0 && id < static_cast<int64_t>(tokens_.size()); }

  ordered_json with_bos(bool add_bos, const ordered_json& otherwise) {
    if (keys_.flag("tokenizer.ggml.add_eos_token", false))
      keys_.refuse("a tokenizer that adds the end token is not read");
    if (!add_bos) return otherwise;
    const int64_t id = keys_.integer("tokenizer.ggml.bos_token_id", -1);
    if (!is_token(id)) {
      keys_.fail(absl::StrCat("the token that begins a text, ", id, ", is not in the vocabulary"));
      return nullptr;
    }
    const std::string& token = tokens_[static_cast<size_t>(id)];
    const ordered_json begin = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
    ordered_json single = ordered_json::array({begin, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}});
    ordered_json pair = single;
    pair.push_back({{"SpecialToken", {{"id", token}, {"type_id", 1}}}});
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    ordered_json specials = ordered_json::object();
    specials[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", std::move(specials)}};
  }

  GgufKeys keys_;
  std::vector<std::string> tokens_;
  std::vector<int64_t> kinds_;
};

}  // namespace

StatusOr<std::string> gguf_tokenizer_json(const std::map<std::string, GgufValue>& values, const std::string& path) {
  return TokenizerMaker(values, path).make();
}

StatusOr<std::string> gguf_tokenizer_config_json(const std::map<std::string, GgufValue>& values,
                                                 const std::string& path) {
  GgufKeys keys(values, path);
  ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  const auto* tokens = keys.texts("tokenizer.ggml.tokens");
  constexpr std::pair<const char*, const char*> kTokens[] = {
      {"bos_token", "bos"}, {"eos_token", "eos"}, {"unk_token", "unknown"}, {"pad_token", "padding"}};
  for (const auto& [name, id] : kTokens) {
    const std::string key = absl::StrCat(kPrefix, id, "_token_id");
    if (tokens == nullptr || !keys.has(key)) continue;
    const int64_t index = keys.integer(key, -1);
    if (index < 0 || index >= static_cast<int64_t>(tokens->size())) {
      keys.fail(absl::StrCat("the key \"", key, "\" is ", index, ", which is not in the vocabulary"));
      continue;
    }
    config[name] = (*tokens)[static_cast<size_t>(index)];
  }
  for (const char* name : {"add_bos_token", "add_eos_token"}) {
    if (keys.has(kPrefix + std::string(name))) config[name] = keys.flag(kPrefix + std::string(name), false);
  }
  if (keys.has("tokenizer.chat_template")) config["chat_template"] = keys.text("tokenizer.chat_template", "");
  GQ_RETURN_IF_ERROR(keys.status());
  return config.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace gridquant::formats
