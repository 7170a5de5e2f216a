#include "engine/text/dataset.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/base/digest.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
  }

 private:
  uint64_t state_;
};

std::vector<int64_t> indices_up_to(int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

// No standard distribution or shuffle: each library has its own.
void shuffle_by(uint64_t seed, std::vector<int64_t>& values) {
  SplitMix64 random(seed);
  for (size_t i = values.size(); i-- > 1;) {
    const auto j = static_cast<size_t>(static_cast<unsigned __int128>(random.next()) * (i + 1) >> 64);
    std::swap(values[i], values[j]);
  }
}

std::string with_separators(int64_t number) {
  std::string digits = std::to_string(number);
  for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

std::string name_of(const DatasetSpec& spec) {
  return "text " + spec.documents.path + (spec.language.empty() ? "" : " (" + spec.language + ")");
}

std::string little_endian(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  return text;
}

// The windows of a data set, one after the other.
struct Windows {
  std::vector<int32_t> ids;
  int64_t tokens = 0;  // of all documents
};

StatusOr<std::vector<int32_t>> encode(const TextModel& model, const Document& document, EncodeScratch& scratch) {
  return model.tokenizer.encode(document.text, !document.has_special_tokens, scratch);
}

StatusOr<Windows> concatenated(const TextModel& model, const Documents& documents) {
  const std::optional<int32_t> eos = special_token_id(model, "eos_token");
  EncodeScratch scratch;
  Windows windows;
  for (size_t i = 0; i < documents.list.size(); ++i) {
    const bool after_text = i > 0 && !documents.list[i - 1].has_special_tokens && !windows.ids.empty();
    if (after_text && eos.has_value() && windows.ids.back() != *eos) windows.ids.push_back(*eos);
    GQ_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, encode(model, documents.list[i], scratch));
    windows.ids.insert(windows.ids.end(), ids.begin(), ids.end());
  }
  windows.tokens = static_cast<int64_t>(windows.ids.size());
  return windows;
}

StatusOr<Windows> of_documents(const TextModel& model, const Documents& documents, int64_t length) {
  EncodeScratch scratch;
  Windows windows;
  for (const Document& document : documents.list) {
    GQ_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, encode(model, document, scratch));
    windows.tokens += static_cast<int64_t>(ids.size());
    if (static_cast<int64_t>(ids.size()) < length) continue;
    windows.ids.insert(windows.ids.end(), ids.begin(), ids.begin() + length);
  }
  return windows;
}

Status check_enough(const DatasetSpec& spec, const WindowSpec& wanted, const Windows& windows, size_t documents) {
  const int64_t count = static_cast<int64_t>(windows.ids.size()) / wanted.length;
  const int64_t needed = std::max<int64_t>(spec.samples, 1);
  if (count >= needed) return absl::OkStatus();
  const bool by_document = wanted.packing == Packing::kDocuments;
  return absl::FailedPreconditionError(
      name_of(spec) + " gives " + with_separators(count) + (by_document ? " documents of at least " : " windows of ") +
      with_separators(wanted.length) + " tokens (" +
      (by_document ? with_separators(static_cast<int64_t>(documents)) + " documents, " : "") +
      with_separators(windows.tokens) + " tokens), " + with_separators(needed) + (needed == 1 ? " is" : " are") +
      " needed: add text, lower samples or sequenceLength" + (by_document ? ", or use packing: concatenate" : ""));
}

Status check_spec(const DatasetSpec& spec, const WindowSpec& windows) {
  if (windows.length < 1) {
    return absl::InvalidArgumentError("sequenceLength must be at least 1, found " + std::to_string(windows.length));
  }
  if (spec.samples >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError("samples must not be negative, found " + std::to_string(spec.samples));
}

StatusOr<Documents> read_documents(base::Env& env, const TextModel& model, const DatasetSpec& spec) {
  const StatusOr<std::string> text = base::read_file(env, spec.documents.path);
  if (!text.ok()) return annotate(text.status(), name_of(spec));
  if (text->empty()) return absl::FailedPreconditionError(name_of(spec) + " is empty");
  const std::string invalid = find_invalid_utf8(*text);
  if (!invalid.empty()) return absl::InvalidArgumentError(name_of(spec) + " is not UTF-8 at " + invalid);
  StatusOr<Documents> documents = parse_documents(*text, spec.documents, spec.chat_template ? &model.chat : nullptr);
  if (!documents.ok()) return annotate(documents.status(), name_of(spec));
  if (!documents->list.empty()) return documents;
  return absl::FailedPreconditionError(
      name_of(spec) + (documents->with_tools > 0 ? " has only conversations with tools, which are not supported"
                                                 : " has no text in it"));
}

StatusOr<Tokenizer> read_tokenizer(const ModelTexts& texts) {
  constexpr const char* kTokenizer = "tokenizer.json";
  constexpr const char* kSentencePiece = "tokenizer.model";
  const StatusOr<std::string> json = texts.read(kTokenizer);
  if (json.ok()) return Tokenizer::parse(*json, texts.path_of(kTokenizer));
  if (!absl::IsNotFound(json.status())) return json.status();
  const StatusOr<std::string> model = texts.read(kSentencePiece);
  if (model.ok()) {
    // What transformers' tokenizer on top of SentencePiece adds; a tokenizer.json says it by its post-processor.
    GQ_ASSIGN_OR_RETURN(const bool bos, tokenizer_flag(texts, "add_bos_token", true));
    GQ_ASSIGN_OR_RETURN(const bool eos, tokenizer_flag(texts, "add_eos_token", false));
    if (eos) {
      return absl::UnimplementedError(texts.path_of("tokenizer_config.json") + ": add_eos_token is not supported");
    }
    return Tokenizer::parse_sentencepiece(*model, texts.path_of(kSentencePiece), bos);
  }
  if (!absl::IsNotFound(model.status())) return model.status();
  return absl::NotFoundError(texts.path_of(kTokenizer) + ": no such file, and no " + kSentencePiece +
                             " (SentencePiece) either: the model needs one of them");
}

}  // namespace

StatusOr<TextModel> read_text_model(const ModelTexts& texts) {
  GQ_ASSIGN_OR_RETURN(Tokenizer tokenizer, read_tokenizer(texts));
  GQ_ASSIGN_OR_RETURN(SpecialTokens tokens, read_special_tokens(texts));
  return TextModel{std::move(tokenizer), ChatTemplate::load(texts), std::move(tokens)};
}

std::optional<int32_t> special_token_id(const TextModel& model, std::string_view name) {
  const std::string text = special_token(model.special_tokens, name);
  if (text.empty()) return std::nullopt;
  // SentencePiece does not find them in texts.
  if (const std::optional<int32_t> id = model.tokenizer.special_token(text)) return id;
  const StatusOr<std::vector<int32_t>> ids = model.tokenizer.encode(text, false);
  return ids.ok() && ids->size() == 1 ? std::optional<int32_t>(ids->front()) : std::nullopt;
}

StatusOr<Sequences> load_sequences(base::Env& env, const TextModel& model, const DatasetSpec& spec,
                                   const WindowSpec& wanted) {
  GQ_RETURN_IF_ERROR(check_spec(spec, wanted));
  const StatusOr<Documents> documents = read_documents(env, model, spec);
  GQ_RETURN_IF_ERROR(documents.status());
  const StatusOr<Windows> windows = wanted.packing == Packing::kDocuments
                                        ? of_documents(model, *documents, wanted.length)
                                        : concatenated(model, *documents);
  if (!windows.ok()) return annotate(windows.status(), name_of(spec));
  GQ_RETURN_IF_ERROR(check_enough(spec, wanted, *windows, documents->list.size()));
  const int64_t count = static_cast<int64_t>(windows->ids.size()) / wanted.length;
  const int64_t taken = spec.samples == 0 ? count : spec.samples;
  std::vector<int64_t> order = indices_up_to(count);
  if (wanted.shuffle && spec.samples > 0) shuffle_by(wanted.seed, order);

  Sequences sequences;
  sequences.language = spec.language;
  sequences.length = wanted.length;
  sequences.tokens_available = windows->tokens;
  sequences.documents = static_cast<int64_t>(documents->list.size());
  sequences.with_tools = documents->with_tools;
  sequences.ids.reserve(static_cast<size_t>(taken * wanted.length));
  for (int64_t i = 0; i < taken; ++i) {
    const auto first = windows->ids.begin() + order[static_cast<size_t>(i)] * wanted.length;
    sequences.ids.insert(sequences.ids.end(), first, first + wanted.length);
  }
  return sequences;
}

StatusOr<std::vector<int64_t>> share_samples(int64_t samples, const std::vector<double>& weights) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!(weights[i] > 0) || !std::isfinite(weights[i])) {
      return absl::InvalidArgumentError("data set " + std::to_string(i + 1) + ": its weight must be above 0");
    }
    sum += weights[i];
  }
  std::vector<int64_t> shares;
  std::vector<double> rests;
  int64_t left = samples;
  for (const double weight : weights) {
    const double exact = static_cast<double>(samples) * weight / sum;
    shares.push_back(std::min(static_cast<int64_t>(exact), left));
    rests.push_back(exact - std::floor(exact));
    left -= shares.back();
  }
  std::vector<int64_t> order = indices_up_to(static_cast<int64_t>(weights.size()));
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return rests[static_cast<size_t>(a)] > rests[static_cast<size_t>(b)]; });
  for (size_t i = 0; left > 0; i = (i + 1) % order.size(), --left) ++shares[static_cast<size_t>(order[i])];
  for (size_t i = 0; i < shares.size(); ++i) {
    if (shares[i] > 0) continue;
    return absl::InvalidArgumentError("data set " + std::to_string(i + 1) + " of " + std::to_string(weights.size()) +
                                      " would get none of the " + std::to_string(samples) +
                                      " samples: raise samples or its weight");
  }
  return shares;
}

std::string find_invalid_utf8(std::string_view text) {
  const size_t at = first_invalid_utf8(text);
  if (at == kAllValid) return "";
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n');
  return "line " + std::to_string(line) + ", byte " + std::to_string(at);
}

std::string digest_of_sequences(const std::vector<Sequences>& all) {
  base::Digester digester;
  for (const Sequences& sequences : all) {
    digester.update(little_endian(static_cast<uint64_t>(sequences.length), 8));
    digester.update(little_endian(sequences.ids.size(), 8));
    std::string ids;
    ids.reserve(sequences.ids.size() * 4);
    for (const int32_t id : sequences.ids) {
      const auto bits = static_cast<uint32_t>(id);
      for (int shift = 0; shift < 32; shift += 8) ids.push_back(static_cast<char>(bits >> shift & 0xFF));
    }
    digester.update(ids);
  }
  return digester.finish();
}

}  // namespace gridquant::text
