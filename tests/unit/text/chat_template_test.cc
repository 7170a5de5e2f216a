// Where a model folder's chat template and special tokens come from, and which conversations are none.
#include "engine/text/chat_template.h"

#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

constexpr const char* kSource = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";

class ChatTemplateTest : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(env_->make_folders("m").ok());
    ASSERT_TRUE(base::write_file_atomically(*env_, "m/" + name, text).ok());
  }

  StatusOr<std::string> render(const Json& messages) {
    GQ_ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::load(texts_));
    return chat.render(messages, false);
  }

  std::string error_of(const Json& messages) { return std::string(render(messages).status().message()); }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  const ModelTexts texts_{[this](const std::string& name) { return base::read_file(*env_, "m/" + name); },
                          [](const std::string& name) { return "m/" + name; }};
  const Json hello_ = {{{"role", "user"}, {"content", "hi"}}};
};

TEST_F(ChatTemplateTest, IsFoundInEveryPlace) {
  write("chat_template.json", Json{{"chat_template", "json"}}.dump());
  EXPECT_EQ(render(hello_).value_or(""), "json");
  write("tokenizer_config.json",
        Json{{"bos_token", {{"content", "<s>"}, {"lstrip", false}}},
             {"chat_template",
              {{{"name", "tool_use"}, {"template", "tools"}}, {{"name", "default"}, {"template", kSource}}}}}
            .dump());
  EXPECT_EQ(render(hello_).value_or(""), "<s><user>hi");
  write("chat_template.jinja", "file {{ eos_token }}\n");
  write("special_tokens_map.json", R"({"bos_token": "other", "eos_token": "</s>"})");
  EXPECT_EQ(render(hello_).value_or(""), "file </s>");
  const auto tokens = read_special_tokens(texts_);
  ASSERT_TRUE(tokens.ok());
  EXPECT_EQ(special_token(*tokens, "bos_token"), "<s>");
  EXPECT_EQ(special_token(*tokens, "pad_token"), "");
}

TEST_F(ChatTemplateTest, MalformedFilesAreNamed) {
  EXPECT_THAT(error_of(hello_), HasSubstr("the model has no chat template: m/chat_template.jinja"));
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_THAT(error_of(hello_), HasSubstr("none of the chat templates (rag) is called \"default\""));
  write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_THAT(error_of(hello_), HasSubstr("m/tokenizer_config.json: \"chat_template\" is neither a text nor a list"));
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_THAT(error_of(hello_), HasSubstr("has no name and template"));
  write("tokenizer_config.json", R"({"chat_template": "x", "bos_token": 3})");
  EXPECT_THAT(error_of(hello_), HasSubstr("\"bos_token\" is neither a text nor a token"));
  write("tokenizer_config.json", "{");
  EXPECT_THAT(error_of(hello_), HasSubstr("m/tokenizer_config.json: is not a JSON object"));
  write("tokenizer_config.json", "{\"a\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}");
  EXPECT_THAT(error_of(hello_), HasSubstr("m/tokenizer_config.json: is nested deeper than 100 levels"));
  write("chat_template.jinja", "\n{{ nothing.more }}");
  write("tokenizer_config.json", "{}");
  EXPECT_THAT(error_of(hello_), HasSubstr("m/chat_template.jinja:2:11: 'nothing' is undefined"));
}

TEST_F(ChatTemplateTest, WhatIsNoConversationIsRefused) {
  write("chat_template.jinja", kSource);
  EXPECT_THAT(error_of(Json::array()), HasSubstr("messages is empty"));
  EXPECT_THAT(error_of("text"), HasSubstr("messages must be a list, not \"text\""));
  EXPECT_THAT(error_of({hello_[0], 7}), HasSubstr("message 2: is no object but a number"));
  EXPECT_THAT(error_of({{{"content", "x"}}}), HasSubstr("message 1: has no role"));
  EXPECT_THAT(error_of({{{"role", 1}, {"content", "x"}}}), HasSubstr("message 1: its role is no text"));
  EXPECT_THAT(error_of({{{"role", "user"}}}), HasSubstr("message 1: has no content"));
  EXPECT_THAT(error_of({{{"role", "user"}, {"content", nullptr}}}), HasSubstr("message 1: has no content"));
  EXPECT_THAT(error_of({{{"role", "user"}, {"content", 5}}}), HasSubstr("neither a text nor a list"));
  EXPECT_THAT(error_of({{{"role", "user"}, {"content", {{{"type", "image"}}}}}}), HasSubstr("is no text"));
}

TEST_F(ChatTemplateTest, ToolsAreRefused) {
  write("chat_template.jinja", kSource);
  EXPECT_THAT(error_of({hello_[0], {{"role", "tool"}, {"content", "42"}}}), HasSubstr("tools are not supported"));
  const Json call = {{"role", "assistant"}, {"content", ""}, {"tool_calls", {{{"name", "f"}}}}};
  EXPECT_THAT(error_of({hello_[0], call}), HasSubstr("tools are not supported"));
  const Json none = {{"role", "assistant"}, {"content", "x"}, {"tool_calls", nullptr}};
  EXPECT_TRUE(render({hello_[0], none}).ok());
}

TEST_F(ChatTemplateTest, MembersThatAreNullAreLeftOut) {
  write("chat_template.jinja", "{{ messages[0].name is defined }}{{ messages[0].reasoning_content }}");
  EXPECT_EQ(render({{{"role", "user"}, {"content", "x"}, {"name", nullptr}, {"thinking", "why"}}}).value_or(""),
            "Falsewhy");
}

}  // namespace
}  // namespace gridquant::text
