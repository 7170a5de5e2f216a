// Chat templates of model folders. Not here: the template language (template/), which conversations there are
// (dataset).
#include "engine/text/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/text/json_depth.h"

namespace gridquant::text {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTokenizerConfig = "tokenizer_config.json";
constexpr const char* kTokensMap = "special_tokens_map.json";
constexpr const char* kTokenNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

// Nothing if the file is not there.
StatusOr<std::optional<Json>> read_object(const ModelTexts& texts, const std::string& name) {
  const StatusOr<std::string> text = texts.read(name);
  if (absl::IsNotFound(text.status())) return std::optional<Json>();
  GQ_RETURN_IF_ERROR(text.status());
  if (too_deep_at(*text).has_value()) {
    return absl::InvalidArgumentError(texts.path_of(name) + ": is nested deeper than " +
                                      std::to_string(kMaxJsonDepth) + " levels");
  }
  Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError(texts.path_of(name) + ": is not a JSON object");
  return std::optional<Json>(std::move(json));
}

Status add_tokens(const Json& config, const std::string& path, SpecialTokens& tokens) {
  for (const char* name : kTokenNames) {
    const auto found = config.find(name);
    if (found == config.end() || found->is_null() || !special_token(tokens, name).empty()) continue;
    const Json* text = &*found;
    if (found->is_object()) text = found->contains("content") ? &found->at("content") : text;
    if (!text->is_string()) {
      return absl::InvalidArgumentError(path + ": \"" + name + "\" is neither a text nor a token with \"content\"");
    }
    if (!text->get_ref<const std::string&>().empty()) tokens.emplace_back(name, text->get<std::string>());
  }
  return absl::OkStatus();
}

// The template called "default" of [{"name": ..., "template": ...}, ...].
StatusOr<std::string> default_of(const Json& list, const std::string& path) {
  std::string names;
  for (const Json& one : list) {
    const bool sound = one.is_object() && one.contains("name") && one.at("name").is_string() &&
                       one.contains("template") && one.at("template").is_string();
    if (!sound) return absl::InvalidArgumentError(path + ": an element of \"chat_template\" has no name and template");
    if (one.at("name") == "default") return one.at("template").get<std::string>();
    names += (names.empty() ? "" : ", ") + one.at("name").get<std::string>();
  }
  return absl::InvalidArgumentError(path + ": none of the chat templates (" + names + ") is called \"default\"");
}

struct Found {
  std::string source;
  std::string name;
};

StatusOr<std::optional<Found>> template_in(const ModelTexts& texts, const std::string& file) {
  GQ_ASSIGN_OR_RETURN(const std::optional<Json> config, read_object(texts, file));
  const std::string path = texts.path_of(file);
  if (!config.has_value()) return std::optional<Found>();
  const auto found = config->find("chat_template");
  if (found == config->end() || found->is_null()) return std::optional<Found>();
  const std::string name = path + " (chat_template)";
  if (found->is_string()) return std::optional<Found>({found->get<std::string>(), name});
  if (!found->is_array()) return absl::InvalidArgumentError(path + ": \"chat_template\" is neither a text nor a list");
  GQ_ASSIGN_OR_RETURN(std::string source, default_of(*found, path));
  return std::optional<Found>({std::move(source), name});
}

StatusOr<Found> find_template(const ModelTexts& texts) {
  constexpr const char* kJinja = "chat_template.jinja";
  StatusOr<std::string> jinja = texts.read(kJinja);
  if (jinja.ok()) return Found{*std::move(jinja), texts.path_of(kJinja)};
  if (!absl::IsNotFound(jinja.status())) return jinja.status();
  for (const char* file : {kTokenizerConfig, "chat_template.json"}) {
    GQ_ASSIGN_OR_RETURN(std::optional<Found> found, template_in(texts, file));
    if (found.has_value()) return *std::move(found);
  }
  return absl::NotFoundError("the model has no chat template: " + texts.path_of(kJinja) + " is not there, and " +
                             kTokenizerConfig + " has none");
}

std::string shown(const Json& json) {
  return json.is_string() ? "\"" + json.get<std::string>() + "\"" : std::string(json.type_name());
}

// Why `content` is none, or "".
std::string problem_of_content(const Json& content) {
  if (content.is_string()) return "";
  if (!content.is_array()) return "its content is neither a text nor a list but a " + std::string(content.type_name());
  for (const Json& part : content) {
    const bool text = part.is_object() && part.value("type", Json()) == "text" && part.contains("text") &&
                      part.at("text").is_string();
    if (!text) return "a part of its content is no text ({\"type\": \"text\", \"text\": ...})";
  }
  return "";
}

StatusOr<Json> checked_message(const Json& message) {
  if (!message.is_object()) return absl::InvalidArgumentError("is no object but a " + std::string(message.type_name()));
  Json result = Json::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) result[key] = value;
  }
  if (!result.contains("role")) return absl::InvalidArgumentError("has no role");
  if (!result.at("role").is_string()) {
    return absl::InvalidArgumentError("its role is no text but a " + std::string(result.at("role").type_name()));
  }
  if (!result.contains("content")) return absl::InvalidArgumentError("has no content");
  const std::string problem = problem_of_content(result.at("content"));
  if (!problem.empty()) return absl::InvalidArgumentError(problem);
  for (const char* field : {"reasoning_content", "thinking", "reasoning"}) {
    if (!result.contains(field)) continue;
    const Json reasoning = result.at(field);
    if (!result.contains("thinking")) result["thinking"] = reasoning;
    result["reasoning_content"] = reasoning;
    break;
  }
  return result;
}

}  // namespace

std::string special_token(const SpecialTokens& tokens, std::string_view name) {
  for (const auto& [key, text] : tokens) {
    if (key == name) return text;
  }
  return "";
}

StatusOr<SpecialTokens> read_special_tokens(const ModelTexts& texts) {
  SpecialTokens tokens;
  for (const char* file : {kTokenizerConfig, kTokensMap}) {
    GQ_ASSIGN_OR_RETURN(const std::optional<Json> config, read_object(texts, file));
    if (config.has_value()) GQ_RETURN_IF_ERROR(add_tokens(*config, texts.path_of(file), tokens));
  }
  return tokens;
}

StatusOr<bool> tokenizer_flag(const ModelTexts& texts, const std::string& name, bool if_absent) {
  GQ_ASSIGN_OR_RETURN(const std::optional<Json> config, read_object(texts, kTokenizerConfig));
  if (!config.has_value()) return if_absent;
  const auto found = config->find(name);
  if (found == config->end() || found->is_null()) return if_absent;
  if (found->is_boolean()) return found->get<bool>();
  return absl::InvalidArgumentError(texts.path_of(kTokenizerConfig) + ": \"" + name + "\" is neither true nor false");
}

ChatTemplate::ChatTemplate(jinja::Template parsed, SpecialTokens tokens)
    : template_(std::move(parsed)), tokens_(std::move(tokens)) {}

StatusOr<ChatTemplate> ChatTemplate::load(const ModelTexts& texts) {
  GQ_ASSIGN_OR_RETURN(const Found found, find_template(texts));
  GQ_ASSIGN_OR_RETURN(SpecialTokens tokens, read_special_tokens(texts));
  return make(found.source, found.name, std::move(tokens));
}

StatusOr<ChatTemplate> ChatTemplate::make(std::string_view source, const std::string& name, SpecialTokens tokens) {
  GQ_ASSIGN_OR_RETURN(jinja::Template parsed, jinja::Template::parse(source, name));
  return ChatTemplate(std::move(parsed), std::move(tokens));
}

bool has_tools(const Json& messages) {
  if (!messages.is_array()) return false;
  return std::any_of(messages.begin(), messages.end(), [](const Json& message) {
    if (!message.is_object()) return false;
    const Json role = message.value("role", Json());
    const Json calls = message.value("tool_calls", Json());
    const bool is_tool = role == "tool" || role == "ipython" || role == "tool_results" || role == "function";
    return is_tool || (!calls.is_null() && !(calls.is_array() && calls.empty())) ||
           !message.value("function_call", Json()).is_null();
  });
}

StatusOr<Json> checked_messages(const Json& messages) {
  if (!messages.is_array()) {
    return absl::InvalidArgumentError("messages must be a list, not " + shown(messages));
  }
  if (messages.empty()) return absl::InvalidArgumentError("messages is empty");
  Json result = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    StatusOr<Json> message = checked_message(messages[i]);
    if (!message.ok()) return annotate(message.status(), "message " + std::to_string(i + 1));
    result.push_back(*std::move(message));
  }
  return result;
}

StatusOr<std::string> ChatTemplate::render(const Json& messages, bool add_generation_prompt,
                                           const jinja::Date& now) const {
  if (has_tools(messages)) return absl::UnimplementedError("conversations with tools are not supported");
  GQ_ASSIGN_OR_RETURN(Json checked, checked_messages(messages));
  Json variables = {{"messages", std::move(checked)},
                    {"tools", nullptr},
                    {"documents", nullptr},
                    {"add_generation_prompt", add_generation_prompt}};
  for (const auto& [name, text] : tokens_) variables[name] = text;
  return template_.render(variables, now);
}

}  // namespace gridquant::text
