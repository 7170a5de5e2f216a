// tokenizer.json damaged in every way at hand: an error or a tokenizer, never a crash.
#include <random>

#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

using nlohmann::json;

// Small enough to damage everywhere; has every kind of part.
json tiny() {
  json document = small_tokenizer();
  document["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"ab", 2}, {"<s>", 3}};
  document["model"]["merges"] = {"a b"};
  document["added_tokens"].erase(2);
  document["added_tokens"].erase(1);
  document["added_tokens"][0]["id"] = 3;
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  document["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "\\p{N}"}}}, {"behavior", "Removed"}, {"invert", false}},
        {{"type", "Digits"}, {"individual_digits", true}},
        document["decoder"]}}};
  document["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {3}}, {"tokens", {"<s>"}}}}}}};
  return document;
}

// Parses, and uses what comes out.
Status try_it(const std::string& text) {
  const StatusOr<Tokenizer> tokenizer = Tokenizer::parse(text, "t.json");
  if (!tokenizer.ok()) {
    EXPECT_TRUE(tokenizer.status().message().substr(0, 8) == "t.json: ") << tokenizer.status();
    EXPECT_LT(tokenizer.status().message().size(), 1000u);
    return tokenizer.status();
  }
  const auto ids = tokenizer->encode("ab 12 <s>ba", true);
  if (ids.ok()) tokenizer->decode(*ids, false);
  return absl::OkStatus();
}

TEST(Malformed, TheWholeOneWorks) {
  const auto tokenizer = parse(tiny());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*tokenizer->encode("ab1b<s>", true), (std::vector<int32_t>{3, 2, 1, 3}));
}

TEST(Malformed, CutAtEveryByte) {
  const std::string text = tiny().dump();
  for (size_t size = 0; size < text.size(); ++size) {
    const Status status = try_it(text.substr(0, size));
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << size << ": " << status;
  }
}

TEST(Malformed, EveryByteChanged) {
  const std::string text = tiny().dump();
  std::mt19937 random(1);
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char byte : {'\0', '"', '}', '9', '\xFF', static_cast<char>(random())}) {
      std::string damaged = text;
      damaged[i] = byte;
      try_it(damaged).IgnoreError();
    }
  }
}

void collect_pointers(const json& value, const json::json_pointer& at, std::vector<json::json_pointer>& to) {
  to.push_back(at);
  if (value.is_object()) {
    for (const auto& item : value.items()) collect_pointers(item.value(), at / item.key(), to);
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) collect_pointers(value[i], at / i, to);
  }
}

TEST(Malformed, EveryValueOfEveryWrongType) {
  const json document = tiny();
  std::vector<json::json_pointer> pointers;
  collect_pointers(document, json::json_pointer(), pointers);
  ASSERT_GT(pointers.size(), 60u);
  const json wrong[] = {nullptr,
                        true,
                        -1,
                        7,
                        1.5,
                        1e300,
                        18446744073709551615ULL,
                        "",
                        "text",
                        "(",
                        json::array(),
                        json::object(),
                        json::array({1, "a"}),
                        json::object({{"type", "ByteLevel"}})};
  int refused = 0;
  for (const auto& pointer : pointers) {
    for (const json& value : wrong) {
      json damaged = document;
      damaged[pointer] = value;
      SCOPED_TRACE(pointer.to_string() + " = " + value.dump());
      if (!try_it(damaged.dump()).ok()) ++refused;
    }
  }
  EXPECT_GT(refused, 300);
}

TEST(Malformed, EveryMemberLeftOut) {
  const json document = tiny();
  std::vector<json::json_pointer> pointers;
  collect_pointers(document, json::json_pointer(), pointers);
  for (const auto& pointer : pointers) {
    if (pointer.empty()) continue;
    json damaged = document;
    json& parent = damaged[pointer.parent_pointer()];
    SCOPED_TRACE(pointer.to_string());
    if (parent.is_object()) {
      parent.erase(pointer.back());
      try_it(damaged.dump()).IgnoreError();
    }
  }
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Malformed, DeepNesting) {
  constexpr int kDepth = 200000;
  EXPECT_FALSE(try_it(repeated("[", kDepth)).ok());
  EXPECT_FALSE(try_it(repeated("[", kDepth) + repeated("]", kDepth)).ok());
  EXPECT_FALSE(try_it(repeated(R"({"model":)", kDepth) + "1" + repeated("}", kDepth)).ok());
  std::string text = tiny().dump();
  const std::string nested = repeated(R"({"type":"Sequence","normalizers":[)", kDepth) + repeated("]}", kDepth);
  const size_t at = text.find(R"("normalizer":)") + 13;
  const std::string document = text.substr(0, at) + nested + text.substr(text.find(R"(,"post_processor")"));
  const Status status = try_it(document);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("nested deeper than 100 levels at byte "));
}

TEST(Malformed, NotUtf8AndOddRoots) {
  for (const char* text :
       {"", "null", "1", "\"a\"", "[]", "{}", "\xEF\xBB\xBF", "{\"model\":\"\xFF\"}", "{\"a\":\"\\ud800\"}"}) {
    EXPECT_FALSE(try_it(text).ok()) << text;
  }
}

}  // namespace
}  // namespace gridquant::text
