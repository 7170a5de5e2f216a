// A model's chat template: conversations to the text that the model was trained on, as transformers'
// apply_chat_template(tokenize=False) gives it.
//
// The text is to be tokenized without the post-processor's special tokens (encode(text, false)), as transformers does:
// the template writes BOS itself where the model wants one.
//
// strftime_now gives a fixed day, 26 Jul 2024, which Llama 3's templates write where there is no clock: the same
// conversation must give the same tokens tomorrow. (transformers gives the present day.)
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/base/status.h"
#include "engine/text/template/template.h"

namespace gridquant::text {

// The small files of a model, wherever they come from.
struct ModelTexts {
  std::function<StatusOr<std::string>(const std::string& name)> read;  // NotFound if absent
  std::function<std::string(const std::string& name)> path_of;         // for messages
};

// Names and texts of the special tokens that a tokenizer's configuration gives: {"bos_token", "<s>"}.
using SpecialTokens = std::vector<std::pair<std::string, std::string>>;

// From tokenizer_config.json and, for what it lacks, special_tokens_map.json; tokens are texts or objects with
// "content". Files that are absent give nothing; malformed ones are InvalidArgument.
StatusOr<SpecialTokens> read_special_tokens(const ModelTexts& texts);
std::string special_token(const SpecialTokens& tokens, std::string_view name);  // "" if there is none

// A member of tokenizer_config.json that is true or false; `if_absent` where it, or the file, is not there.
StatusOr<bool> tokenizer_flag(const ModelTexts& texts, const std::string& name, bool if_absent);

class ChatTemplate {
 public:
  // Of a Hugging Face model: chat_template.jinja, or "chat_template" of tokenizer_config.json (a text, or named ones
  // of which "default" is taken), or of chat_template.json. NotFound if there is none.
  static StatusOr<ChatTemplate> load(const ModelTexts& texts);
  // `name` stands in messages ("FOLDER/chat_template.jinja").
  static StatusOr<ChatTemplate> make(std::string_view source, const std::string& name, SpecialTokens tokens);

  // `messages`: objects with "role" (text) and "content" (text, or a list of {"type": "text", "text": ...}); members
  // that are null are left out, as transformers does. InvalidArgument for an empty or malformed conversation and for
  // what the template refuses; Unimplemented for tools (see has_tools).
  StatusOr<std::string> render(const nlohmann::ordered_json& messages, bool add_generation_prompt,
                               const jinja::Date& now = {}) const;

 private:
  ChatTemplate(jinja::Template parsed, SpecialTokens tokens);
  jinja::Template template_;
  SpecialTokens tokens_;
};

// A message of a tool, or one that calls a tool.
bool has_tools(const nlohmann::ordered_json& messages);

// Without members that are null, with "reasoning_content" also under its older names. InvalidArgument ("message 2: has
// no role") for what is no conversation.
StatusOr<nlohmann::ordered_json> checked_messages(const nlohmann::ordered_json& messages);

}  // namespace gridquant::text
