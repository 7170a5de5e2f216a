// Files to documents: formats, fields and columns, conversations, and a message with the line for everything malformed.
#include "engine/text/documents.h"

#include "engine/text/csv.h"
#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class DocumentsTest : public testing::Test {
 protected:
  StatusOr<Documents> parse(std::string_view bytes, DocumentsSpec spec) { return parse_documents(bytes, spec, &chat_); }

  std::vector<std::string> texts(std::string_view bytes, const DocumentsSpec& spec) {
    const StatusOr<Documents> documents = parse(bytes, spec);
    EXPECT_TRUE(documents.ok()) << documents.status();
    std::vector<std::string> texts;
    if (documents.ok()) {
      for (const Document& document : documents->list) texts.push_back(document.text);
    }
    return texts;
  }

  std::string error_of(std::string_view bytes, const DocumentsSpec& spec) {
    return std::string(parse(bytes, spec).status().message());
  }

  StatusOr<ChatTemplate> chat_ = ChatTemplate::make(
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'bad' %}{{ raise_exception('bad role') }}{% endif %}"
      "<{{ m.role }}>{{ m.content }}{% endfor %}",
      "m/chat_template.jinja", {{"bos_token", "<s>"}});
};

TEST_F(DocumentsTest, FormatsFollowFromNamesOrAreSaid) {
  EXPECT_THAT(texts("a\n\nb", {.path = "x.txt"}), ElementsAre("a\n\nb"));
  EXPECT_THAT(texts("{\"text\": \"a\"}\n\n  \r\n{\"text\": \"한\\n글\"}\r\n", {.path = "x.jsonl"}),
              ElementsAre("a", "한\n글"));
  EXPECT_THAT(texts("\xEF\xBB\xBF{\"text\": \"a\"}", {.path = "x.ndjson"}), ElementsAre("a"));
  EXPECT_THAT(texts("id,text\n1,a\n2,\"b, \"\"q\"\"\nc\"\n\n3,\n", {.path = "x.csv"}), ElementsAre("a", "b, \"q\"\nc"));
  EXPECT_THAT(texts("id\ttext\r\n1\ta,b\r\n", {.path = "x.tsv"}), ElementsAre("a,b"));
  EXPECT_THAT(texts("{\"text\": \"a\"}", {.path = "data", .format = TextFormat::kJsonl}), ElementsAre("a"));
  EXPECT_THAT(texts("a", {.path = "x.json", .format = TextFormat::kText}), ElementsAre("a"));
  EXPECT_THAT(error_of("[]", {.path = "x.json"}), HasSubstr("x.json: what is in it does not follow from its name"));
}

TEST_F(DocumentsTest, FieldsAndColumnsAreChosen) {
  EXPECT_THAT(texts("{\"a\": \"x\", \"text\": \"y\"}", {.path = "x.jsonl", .field = "a"}), ElementsAre("x"));
  EXPECT_THAT(texts("en,ko\nhello,안녕\n", {.path = "x.csv", .field = "ko"}), ElementsAre("안녕"));
  EXPECT_THAT(texts("en,ko\nhello,안녕\n", {.path = "x.csv", .field = "2"}), ElementsAre("안녕"));
  EXPECT_THAT(texts("hello,안녕\nbye,잘 가\n", {.path = "x.csv", .field = "2", .header = false}),
              ElementsAre("안녕", "잘 가"));
  EXPECT_EQ(error_of("en,ko\nhello,안녕\n", {.path = "x.csv"}),
            "x.csv:1: has no column \"text\"; its columns are en, ko (choose with field)");
  EXPECT_EQ(error_of("\na,b\n", {.path = "x.csv", .field = "3", .header = false}),
            "x.csv:2: has no column \"3\"; it has 2 columns, numbered from 1 (choose with field)");
  EXPECT_EQ(error_of("a,b\n", {.path = "x.csv", .header = false}),
            "x.csv:1: has no column \"\"; it has 2 columns, numbered from 1 (choose with field)");
  EXPECT_EQ(error_of("{\"text\": \"x\"}\n{\"a\": 1, \"b\": 2}", {.path = "x.jsonl"}),
            "x.jsonl:2: has neither \"text\" nor \"messages\"; its fields are a, b (choose with field)");
  EXPECT_EQ(error_of("{\"a\": 1}", {.path = "x.jsonl", .field = "z"}),
            "x.jsonl:1: has no \"z\"; its fields are a (choose with field)");
  EXPECT_THAT(error_of("abc", {.path = "x.txt", .field = "text"}), HasSubstr("a plain text has no fields"));
}

TEST_F(DocumentsTest, ConversationsGoThroughTheTemplate) {
  const char* line = R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]})";
  const StatusOr<Documents> rendered = parse(line, {.path = "x.jsonl"});
  ASSERT_TRUE(rendered.ok()) << rendered.status();
  EXPECT_EQ(rendered->list[0].text, "<s><user>hi<assistant>yo");
  EXPECT_TRUE(rendered->list[0].has_special_tokens);
  const StatusOr<Documents> plain = parse_documents(line, {.path = "x.jsonl"}, nullptr);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->list[0].text, "hi\n\nyo");
  EXPECT_FALSE(plain->list[0].has_special_tokens);
  const StatusOr<ChatTemplate> none = absl::NotFoundError("the model has no chat template");
  EXPECT_EQ(
      parse_documents(line, {.path = "x.jsonl"}, &none).status().message(),
      "x.jsonl:1: is a conversation, but the model has no chat template (chatTemplate: none takes the contents of "
      "the messages alone)");
}

TEST_F(DocumentsTest, ConversationsWithToolsAreCounted) {
  const StatusOr<Documents> documents = parse(
      "{\"text\": \"a\"}\n{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"tools\": [{}]}\n",
      {.path = "x.jsonl"});
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_EQ(documents->list.size(), 1u);
  EXPECT_EQ(documents->with_tools, 2);
  EXPECT_EQ(documents->first_line_with_tools, 2);
}

TEST_F(DocumentsTest, MistakesAreNamedWithTheirLine) {
  const auto jsonl = [&](const std::string& line) {
    return error_of("{\"text\": \"x\"}\n\n" + line, {.path = "x.jsonl"});
  };
  EXPECT_EQ(jsonl("{\"text\": "), "x.jsonl:3: is not JSON (one object a line is expected)");
  EXPECT_EQ(jsonl("[1]"), "x.jsonl:3: is no JSON object but a array");
  EXPECT_EQ(jsonl("{\"text\": 7}"), "x.jsonl:3: \"text\" is neither a text nor a list of messages but a number");
  EXPECT_EQ(jsonl("{\"messages\": []}"), "x.jsonl:3: messages is empty");
  EXPECT_EQ(jsonl("{\"messages\": [{\"role\": \"user\"}]}"), "x.jsonl:3: message 1: has no content");
  EXPECT_THAT(jsonl("{\"messages\": [{\"role\": \"bad\", \"content\": \"\"}]}"),
              StartsWith("x.jsonl:3: m/chat_template.jinja:1:"));
  EXPECT_EQ(jsonl("{\"messages\": " + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}"),
            "x.jsonl:3: is nested deeper than 100 levels");
  EXPECT_EQ(jsonl("\xff"), "x.jsonl:3: is not UTF-8 at line 3, byte 15");
  EXPECT_EQ(error_of("a,text\n1,\"x\n\n", {.path = "x.csv"}), "x.csv:2: a quoted field is not closed");
  EXPECT_EQ(error_of("a,text\n1,\"x\ny\"z\n", {.path = "x.csv"}),
            "x.csv:3: text follows a field's closing quote (a quote inside of quotes is written twice)");
  EXPECT_EQ(error_of("a,text\n1,x\n1,x,y\n", {.path = "x.csv"}), "x.csv:3: has 3 fields, the first row has 2");
}

TEST(CsvTest, FollowsTheRfc) {
  const auto rows = parse_csv("\"a\",\"\"\n,\n\"b\nc\",d", ',');
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_THAT((*rows)[0].fields, ElementsAre("a", ""));
  EXPECT_THAT((*rows)[1].fields, ElementsAre("", ""));
  EXPECT_THAT((*rows)[2].fields, ElementsAre("b\nc", "d"));
  EXPECT_EQ((*rows)[2].line, 3);
  EXPECT_TRUE(parse_csv("", ',')->empty());
}

}  // namespace
}  // namespace gridquant::text
