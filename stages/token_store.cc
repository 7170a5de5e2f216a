// Calibration and evaluation tokens: made from texts, written, read back. Not here: tokenizing itself (engine/text).
#include "stages/token_store.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/digest.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kSentencePiece = "tokenizer.model";
constexpr const char* kTokens = "tokens.bin";
constexpr const char* kTokensInfo = "tokens.json";

int language_index(std::vector<std::string>& languages, const std::string& language) {
  const auto it = std::find(languages.begin(), languages.end(), language);
  if (it != languages.end()) return static_cast<int>(it - languages.begin());
  languages.push_back(language);
  return static_cast<int>(languages.size()) - 1;
}

void interleave(const std::vector<text::Sequences>& texts, TokenSet& tokens) {
  int64_t longest = 0;
  for (const text::Sequences& t : texts) longest = std::max(longest, t.count());
  for (int64_t i = 0; i < longest; ++i) {
    for (const text::Sequences& t : texts) {
      if (i >= t.count()) continue;
      tokens.language_of.push_back(language_index(tokens.languages, t.language));
      const auto begin = t.ids.begin() + i * t.length;
      tokens.ids.insert(tokens.ids.end(), begin, begin + t.length);
    }
  }
}

Status check_ids(const text::Sequences& sequences, const std::string& path, int64_t vocab_size) {
  for (const int32_t id : sequences.ids) {
    if (id >= 0 && id < vocab_size) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": the tokenizer gives token ", id, ", but the model has only ", vocab_size,
                     " (vocab_size): the tokenizer and config.json do not belong together"));
  }
  return absl::OkStatus();
}

// The digest over the interleaved ids, so that it also fixes their order.
std::string digest_of_ids(const TokenSet& tokens) {
  text::Sequences all;
  all.length = tokens.length;
  all.ids = tokens.ids;
  std::vector<text::Sequences> one;
  one.push_back(std::move(all));
  return text::digest_of_sequences(one);
}

}  // namespace

int64_t TokenSet::count_of(int language) const {
  return std::count(language_of.begin(), language_of.end(), language);
}

std::vector<text::DatasetSpec> parse_datasets(const json& datasets, int64_t samples) {
  std::vector<text::DatasetSpec> specs;
  const int64_t count = static_cast<int64_t>(datasets.size());
  for (int64_t i = 0; i < count; ++i) {
    text::DatasetSpec spec;
    spec.path = datasets[i].at("path").get<std::string>();
    spec.language = datasets[i].at("language").get<std::string>();
    spec.samples = samples / count + (i < samples % count ? 1 : 0);
    specs.push_back(std::move(spec));
  }
  return specs;
}

StatusOr<text::Tokenizer> load_tokenizer(const formats::TextFiles& texts) {
  const StatusOr<std::string> json_text = texts.read(kTokenizer);
  if (json_text.ok()) return text::Tokenizer::parse(*json_text, texts.path_of(kTokenizer));
  if (!absl::IsNotFound(json_text.status())) return json_text.status();
  const StatusOr<std::string> model = texts.read(kSentencePiece);
  if (model.ok()) return text::Tokenizer::parse_sentencepiece(*model, texts.path_of(kSentencePiece));
  if (!absl::IsNotFound(model.status())) return model.status();
  return absl::NotFoundError(absl::StrCat(texts.path_of(kTokenizer), ": no such file, and no ", kSentencePiece,
                                          " (SentencePiece) either: the model needs one of them"));
}

StatusOr<TokenSet> make_tokens(base::Env& env, const TokenRequest& request) {
  GQ_ASSIGN_OR_RETURN(const text::Tokenizer tokenizer, load_tokenizer(*request.texts));
  TokenSet tokens;
  tokens.length = request.length;
  std::vector<text::Sequences> texts;
  for (const text::DatasetSpec& spec : request.datasets) {
    GQ_ASSIGN_OR_RETURN(text::Sequences sequences,
                        text::load_sequences(env, tokenizer, spec, request.length, request.seed, request.shuffle));
    GQ_RETURN_IF_ERROR(check_ids(sequences, spec.path, request.vocab_size));
    sequences.language = spec.language;
    GQ_ASSIGN_OR_RETURN(const std::string sha256, base::digest_of_file(env, spec.path));
    tokens.texts.push_back({{"path", spec.path},
                            {"language", spec.language},
                            {"sha256", sha256},
                            {"sequences", sequences.count()},
                            {"tokens_available", sequences.tokens_available}});
    texts.push_back(std::move(sequences));
  }
  interleave(texts, tokens);
  tokens.digest = digest_of_ids(tokens);
  return tokens;
}

Status write_tokens(base::Env& env, const std::string& folder, const TokenSet& tokens) {
  const std::string_view bytes(reinterpret_cast<const char*>(tokens.ids.data()), tokens.ids.size() * sizeof(int32_t));
  GQ_RETURN_IF_ERROR(base::write_file_atomically(env, base::join_path(folder, kTokens), bytes));
  const json info = {{"format", 1},
                     {"length", tokens.length},
                     {"count", tokens.count()},
                     {"languages", tokens.languages},
                     {"language_of", tokens.language_of},
                     {"digest", tokens.digest},
                     {"texts", tokens.texts}};
  return base::write_file_atomically(env, base::join_path(folder, kTokensInfo), info.dump(1) + "\n");
}

StatusOr<TokenSet> read_tokens(base::Env& env, const std::string& folder) {
  const std::string info_path = base::join_path(folder, kTokensInfo);
  GQ_ASSIGN_OR_RETURN(const std::string text, base::read_file(env, info_path));
  GQ_ASSIGN_OR_RETURN(const std::string bytes, base::read_file(env, base::join_path(folder, kTokens)));
  const Status damaged = absl::DataLossError(absl::StrCat(info_path, ": does not describe tokens.bin beside it"));
  TokenSet tokens;
  try {
    const json info = json::parse(text);
    tokens.length = info.at("length").get<int64_t>();
    tokens.languages = info.at("languages").get<std::vector<std::string>>();
    tokens.language_of = info.at("language_of").get<std::vector<int>>();
    tokens.digest = info.at("digest").get<std::string>();
    tokens.texts = info.at("texts");
  } catch (const json::exception&) {
    return damaged;
  }
  tokens.ids.resize(bytes.size() / sizeof(int32_t));
  std::memcpy(tokens.ids.data(), bytes.data(), tokens.ids.size() * sizeof(int32_t));
  const int languages = static_cast<int>(tokens.languages.size());
  const bool in_range =
      std::all_of(tokens.language_of.begin(), tokens.language_of.end(), [&](int l) { return l >= 0 && l < languages; });
  if (!in_range || tokens.length <= 0 || tokens.count() * tokens.length != static_cast<int64_t>(tokens.ids.size()) ||
      digest_of_ids(tokens) != tokens.digest) {
    return damaged;
  }
  return tokens;
}

}  // namespace gridquant::stages
