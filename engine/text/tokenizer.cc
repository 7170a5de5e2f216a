#include "engine/text/tokenizer.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/text/tokenizer_state.h"
#include "engine/text/utf8.h"

namespace gridquant::text {
namespace {

constexpr size_t kMaxJsonMessage = 300;  // nlohmann quotes what it read last, which may be megabytes

StatusOr<nlohmann::json> parse_json(std::string_view text, const std::string& path) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    std::string why = error.what();
    if (why.size() > kMaxJsonMessage) why = with_replacements(why.substr(0, kMaxJsonMessage)) + "...";
    return absl::InvalidArgumentError(path + ": not valid JSON: " + why);
  }
}

// Only what gives text back from bytes; Fuse joins what ByteLevel has joined already.
Status check_decoder(const JsonNode& node, bool& has_byte_level) {
  if (node.is_null()) return absl::OkStatus();
  GQ_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "Sequence") {
    GQ_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array_at("decoders"));
    for (const JsonNode& part : parts) GQ_RETURN_IF_ERROR(check_decoder(part, has_byte_level));
    return absl::OkStatus();
  }
  if (type == "Fuse" && has_byte_level) return absl::OkStatus();
  if (type != "ByteLevel") return node.unsupported("decoder", type);
  if (has_byte_level) return node.unimplemented("a second ByteLevel decoder is not supported");
  has_byte_level = true;
  return absl::OkStatus();
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

StatusOr<Tokenizer> Tokenizer::parse(std::string_view json_text, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(const nlohmann::json document, parse_json(json_text, path));
  const JsonNode root(path, document, "");
  GQ_ASSIGN_OR_RETURN(const JsonNode model_node, root.child("model"));
  GQ_ASSIGN_OR_RETURN(const JsonNode normalizer_node, root.child("normalizer"));
  GQ_ASSIGN_OR_RETURN(const Normalizer normalizer, Normalizer::parse(normalizer_node));
  GQ_ASSIGN_OR_RETURN(const JsonNode pre_tokenizer_node, root.child("pre_tokenizer"));
  GQ_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::parse(pre_tokenizer_node));
  GQ_ASSIGN_OR_RETURN(const JsonNode decoder_node, root.child("decoder"));
  bool has_byte_level = false;
  GQ_RETURN_IF_ERROR(check_decoder(decoder_node, has_byte_level));
  if (!has_byte_level) return decoder_node.unimplemented("a tokenizer without a ByteLevel decoder is not supported");
  GQ_ASSIGN_OR_RETURN(const JsonNode post_processor_node, root.child("post_processor"));
  GQ_ASSIGN_OR_RETURN(PostProcessor post_processor, PostProcessor::parse(post_processor_node));
  GQ_ASSIGN_OR_RETURN(const JsonNode added_node, root.child("added_tokens"));
  GQ_ASSIGN_OR_RETURN(const std::vector<AddedToken> added_list, parse_added_tokens(added_node));
  GQ_ASSIGN_OR_RETURN(Vocabulary vocabulary, parse_model(model_node, added_list, normalizer));
  GQ_ASSIGN_OR_RETURN(AddedTokens added, AddedTokens::make(added_list, normalizer));
  return Tokenizer(
      std::make_unique<State>(State{normalizer, std::move(added), std::move(pre_tokenizer), std::move(vocabulary.model),
                                    std::move(post_processor), std::move(vocabulary.tokens)}));
}

StatusOr<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool add_special) const {
  if (text.size() > UINT32_MAX)
    return absl::InvalidArgumentError("a text above 4 GiB cannot be tokenized in one piece");
  const size_t invalid = first_invalid_utf8(text);
  if (invalid != kAllValid) {
    return absl::InvalidArgumentError("the text is not UTF-8 at byte " + std::to_string(invalid));
  }
  BpeCall words(text.size());
  PreTokenizer::Call call;
  const auto on_word = [&](std::string_view word) { state_->model.encode(word, words); };
  const auto on_normalized = [&](std::optional<int32_t> id, std::string_view part) -> Status {
    if (!id.has_value()) return state_->pre_tokenizer.run(part, call, on_word);
    words.ids.push_back(*id);
    return absl::OkStatus();
  };
  const auto on_raw = [&](std::optional<int32_t> id, std::string_view part) -> Status {
    if (id.has_value()) return on_normalized(id, part);
    GQ_ASSIGN_OR_RETURN(const std::string_view normalized, state_->normalizer.apply(part, call.buffers));
    return state_->added.split_normalized(normalized, call.match, on_normalized);
  };
  GQ_RETURN_IF_ERROR(state_->added.split_raw(text, call.match, on_raw));
  return state_->post_processor.apply(std::move(words.ids), add_special);
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= state_->tokens.size()) continue;
    const TokenText& token = state_->tokens[static_cast<size_t>(id)];
    if (token.known && !(skip_special && token.special)) bytes += token.bytes;
  }
  return with_replacements(std::move(bytes));
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(state_->tokens.size());
}

}  // namespace gridquant::text
