// Calibration and evaluation tokens: made from texts, written, read back. Not here: tokenizing itself (engine/text).
#include "stages/token_store.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/digest.h"
#include "stages/committed_files.h"

namespace gridquant::stages {
namespace {

using nlohmann::json;

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

std::vector<text::DatasetSpec> parse_datasets(const json& datasets, const std::vector<int64_t>& shares) {
  std::vector<text::DatasetSpec> specs;
  for (size_t i = 0; i < datasets.size(); ++i) {
    const json& given = datasets[i];
    text::DatasetSpec spec;
    spec.documents.path = given.at("path").get<std::string>();
    spec.documents.format = text::text_format(given.at("format").get<std::string>());
    spec.documents.field = given.at("field").get<std::string>();
    spec.documents.header = given.at("header").get<bool>();
    spec.chat_template = given.at("chatTemplate").get<std::string>() == "auto";
    spec.language = given.at("language").get<std::string>();
    spec.samples = shares[i];
    specs.push_back(std::move(spec));
  }
  return specs;
}

text::Packing packing_of(const json& with) {
  return with.at("packing") == "documents" ? text::Packing::kDocuments : text::Packing::kConcatenate;
}

text::ModelTexts model_texts(const formats::TextFiles& texts) {
  return {[&texts](const std::string& name) { return texts.read(name); },
          [&texts](const std::string& name) { return texts.path_of(name); }};
}

std::vector<std::string> left_out(const TokenSet& tokens) {
  std::vector<std::string> lines;
  for (const json& text : tokens.texts) {
    const int64_t count = text.value("with_tools", int64_t{0});
    if (count == 0) continue;
    lines.push_back(absl::StrCat(text.at("path").get<std::string>(), ": ", count,
                                 " conversations with tools were left out (tools are not supported)"));
  }
  return lines;
}

StatusOr<TokenSet> make_tokens(base::Env& env, TokenRequest request) {
  GQ_ASSIGN_OR_RETURN(const text::TextModel model, text::read_text_model(model_texts(*request.texts)));
  TokenSet tokens;
  tokens.length = request.windows.length;
  std::vector<text::Sequences> texts;
  for (const text::DatasetSpec& spec : request.datasets) {
    GQ_ASSIGN_OR_RETURN(text::Sequences sequences, text::load_sequences(env, model, spec, request.windows));
    const std::string& path = spec.documents.path;
    GQ_RETURN_IF_ERROR(check_ids(sequences, path, request.vocab_size));
    GQ_ASSIGN_OR_RETURN(const std::string sha256, base::digest_of_file(env, path));
    tokens.texts.push_back({{"path", path},
                            {"language", spec.language},
                            {"sha256", sha256},
                            {"documents", sequences.documents},
                            {"with_tools", sequences.with_tools},
                            {"sequences", sequences.count()},
                            {"tokens_available", sequences.tokens_available}});
    texts.push_back(std::move(sequences));
  }
  for (MadeSequences& made : request.made) {
    GQ_RETURN_IF_ERROR(check_ids(made.sequences, made.info.at("path").get<std::string>(), request.vocab_size));
    tokens.texts.push_back(std::move(made.info));
    texts.push_back(std::move(made.sequences));
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
  GQ_ASSIGN_OR_RETURN(const CommittedFiles files, CommittedFiles::open(env, folder));
  GQ_ASSIGN_OR_RETURN(const std::string text, files.read(kTokensInfo));
  GQ_ASSIGN_OR_RETURN(const std::string bytes, files.read(kTokens));
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

std::string TokenSet::serialize() const {
  const nlohmann::json facts = {
      {"length", length}, {"languages", languages}, {"language_of", language_of}, {"digest", digest}, {"texts", texts}};
  std::string bytes = facts.dump();
  bytes += '\0';
  const auto raw = std::as_bytes(std::span(ids));
  bytes.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  return bytes;
}

StatusOr<TokenSet> TokenSet::parse(const std::string& bytes) {
  const size_t end = bytes.find('\0');
  const nlohmann::json facts = nlohmann::json::parse(bytes.substr(0, end), nullptr, /*allow_exceptions=*/false);
  if (end == std::string::npos || !facts.is_object()) return absl::InternalError("a rank sent no token set");
  TokenSet tokens;
  tokens.length = facts.at("length");
  tokens.languages = facts.at("languages");
  tokens.language_of = facts.at("language_of").get<std::vector<int>>();
  tokens.digest = facts.at("digest");
  tokens.texts = facts.at("texts");
  tokens.ids.resize((bytes.size() - end - 1) / sizeof(int32_t));
  std::memcpy(tokens.ids.data(), bytes.data() + end + 1, tokens.ids.size() * sizeof(int32_t));
  return tokens;
}

}  // namespace gridquant::stages
