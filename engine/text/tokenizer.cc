#include "engine/text/tokenizer.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/text/json_depth.h"
#include "engine/text/tokenizer_state.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr size_t kMaxJsonBytes = size_t{512} << 20;  // the largest known has 33 MiB
constexpr size_t kMaxJsonMessage = 300;              // nlohmann quotes what it read last, which may be megabytes

StatusOr<nlohmann::json> parse_json(std::string_view text, const std::string& path) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    std::string why = error.what();
    if (why.size() > kMaxJsonMessage) why = with_replacements(why.substr(0, kMaxJsonMessage)) + "...";
    return absl::InvalidArgumentError(path + ": not valid JSON: " + why);
  }
}

Status check_depth(std::string_view text, const std::string& path) {
  const std::optional<size_t> at = too_deep_at(text);
  if (!at.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(path + ": nested deeper than " + std::to_string(kMaxJsonDepth) +
                                    " levels at byte " + std::to_string(*at) + ": this is no tokenizer.json");
}

}  // namespace

EncodeScratch::EncodeScratch() : state_(std::make_unique<State>()) {}
EncodeScratch::~EncodeScratch() = default;
EncodeScratch::EncodeScratch(EncodeScratch&&) noexcept = default;
EncodeScratch& EncodeScratch::operator=(EncodeScratch&&) noexcept = default;

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

StatusOr<Tokenizer> Tokenizer::parse(std::string_view json_text, const std::string& path) {
  if (json_text.size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(path + ": " + std::to_string(json_text.size()) +
                                      " bytes are too many for a tokenizer.json");
  }
  GQ_RETURN_IF_ERROR(check_depth(json_text, path));
  GQ_ASSIGN_OR_RETURN(const nlohmann::json document, parse_json(json_text, path));
  const JsonNode root(path, document, "");
  GQ_ASSIGN_OR_RETURN(const JsonNode model_node, root.child("model"));
  GQ_ASSIGN_OR_RETURN(const JsonNode normalizer_node, root.child("normalizer"));
  GQ_ASSIGN_OR_RETURN(const Normalizer normalizer, Normalizer::parse(normalizer_node));
  GQ_ASSIGN_OR_RETURN(const JsonNode pre_tokenizer_node, root.child("pre_tokenizer"));
  GQ_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::parse(pre_tokenizer_node));
  GQ_ASSIGN_OR_RETURN(const JsonNode decoder_node, root.child("decoder"));
  GQ_ASSIGN_OR_RETURN(Decoder decoder, Decoder::parse(decoder_node));
  GQ_ASSIGN_OR_RETURN(const JsonNode post_processor_node, root.child("post_processor"));
  GQ_ASSIGN_OR_RETURN(PostProcessor post_processor, PostProcessor::parse(post_processor_node));
  GQ_ASSIGN_OR_RETURN(const JsonNode added_node, root.child("added_tokens"));
  GQ_ASSIGN_OR_RETURN(const std::vector<AddedToken> added_list, parse_added_tokens(added_node));
  const ModelContext context{added_list, normalizer, pre_tokenizer.is_byte_level(), decoder.is_byte_level()};
  GQ_ASSIGN_OR_RETURN(Vocabulary vocabulary, parse_model(model_node, context));
  GQ_ASSIGN_OR_RETURN(AddedTokens added, AddedTokens::make(added_list, normalizer));
  return Tokenizer(
      std::make_unique<State>(State{normalizer, std::move(added), std::move(pre_tokenizer), std::move(vocabulary.model),
                                    std::move(post_processor), std::move(decoder), std::move(vocabulary.tokens)}));
}

StatusOr<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool add_special) const {
  EncodeScratch scratch;
  return encode(text, add_special, scratch);
}

StatusOr<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool add_special,
                                                 EncodeScratch& scratch) const {
  if (text.size() > UINT32_MAX) {
    return absl::InvalidArgumentError("a text above 4 GiB cannot be tokenized in one piece");
  }
  const size_t invalid = first_invalid_utf8(text);
  if (invalid != kAllValid) {
    return absl::InvalidArgumentError("the text is not UTF-8 at byte " + std::to_string(invalid));
  }
  BpeCall& words = scratch.state_->words;
  PreTokenizer::Call& call = scratch.state_->call;
  if (std::exchange(scratch.state_->tokenizer, state_.get()) != state_.get()) words.forget();
  words.begin(text.size());
  call.buffers.clear();
  const auto on_word = [&](std::string_view word) { state_->model.encode(word, words); };
  const auto on_normalized = [&](std::optional<int32_t> id, std::string_view part) -> Status {
    if (!id.has_value()) return state_->pre_tokenizer.run(part, call, on_word);
    words.ids.push_back(*id);
    return absl::OkStatus();
  };
  const auto on_raw = [&](std::optional<int32_t> id, std::string_view part) -> Status {
    if (id.has_value()) return on_normalized(id, part);
    GQ_ASSIGN_OR_RETURN(const std::string_view normalized, state_->normalizer.apply(part, call.buffers));
    call.start = part.data() == text.data() ? normalized.data() : nullptr;
    return state_->added.split_normalized(normalized, call.match, on_normalized);
  };
  GQ_RETURN_IF_ERROR(state_->added.split_raw(text, call.match, on_raw));
  return state_->post_processor.apply(words.ids, add_special);
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  std::string bytes;
  std::vector<std::string> tokens;
  const bool only_join = state_->decoder.is_byte_level();
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= state_->tokens.size()) continue;
    const TokenText& token = state_->tokens[static_cast<size_t>(id)];
    if (!token.known || (skip_special && token.special)) continue;
    if (only_join) {
      bytes += token.bytes;
    } else {
      tokens.push_back(token.bytes);
    }
  }
  return only_join ? with_replacements(std::move(bytes)) : state_->decoder.decode(std::move(tokens));
}

std::optional<int32_t> Tokenizer::special_token(std::string_view token) const {
  for (size_t id = 0; id < state_->tokens.size(); ++id) {
    const TokenText& text = state_->tokens[id];
    if (text.known && text.special && text.bytes == token) return static_cast<int32_t>(id);
  }
  return std::nullopt;
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(state_->tokens.size());
}

}  // namespace gridquant::text
