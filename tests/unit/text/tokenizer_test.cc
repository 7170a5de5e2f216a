// What is refused and how, and what a Tokenizer promises beyond its ids (vectors_test.cc has those).
#include "engine/text/tokenizer.h"

#include <random>
#include <thread>

#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Status status_of(const json& patch) {
  json document = small_tokenizer();
  document.merge_patch(patch);
  return parse(document).status();
}

TEST(Tokenizer, NamesEveryComponentThatItDoesNotSupport) {
  const json byte_level = small_tokenizer()["pre_tokenizer"];
  const std::pair<json, const char*> cases[] = {
      {{{"normalizer", {{"type", "Precompiled"}}}}, "normalizer \"Precompiled\" at /normalizer is not supported"},
      {{{"normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Nmt"}}}}}}},
       "normalizer \"Nmt\" at /normalizer/normalizers/1 is not supported"},
      {{{"normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "a\\K"}}}, {"content", "b"}}}},
       "/normalizer/pattern/Regex: regular expression 'a\\K': \\K at byte 1"},
      {{{"pre_tokenizer", {{"type", "UnicodeScripts"}}}},
       "pre_tokenizer \"UnicodeScripts\" at /pre_tokenizer is not supported"},
      {{{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {byte_level, {{"type", "Digits"}}}}}}},
       "/pre_tokenizer/pretokenizers/1: a pre_tokenizer after ByteLevel"},
      {{{"pre_tokenizer",
         {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"}, {"pattern", {{"Regex", "a[b&&c]"}}}, {"behavior", "Isolated"}}, byte_level}}}}},
       "/pre_tokenizer/pretokenizers/0/pattern/Regex: regular expression 'a[b&&c]': an intersection of classes"},
      {{{"post_processor", {{"type", "Other"}}}}, "post_processor \"Other\" at /post_processor"},
      {{{"decoder", {{"type", "WordPiece"}}}}, "decoder \"WordPiece\" at /decoder is not supported"},
      {{{"model", {{"type", "Unigram"}}}}, "model \"Unigram\" at /model is not supported"},
      {{{"model", {{"dropout", 0.1}}}}, "/model/dropout: dropout"},
      {{{"model", {{"continuing_subword_prefix", "##"}}}}, "/model/continuing_subword_prefix: \"##\""},
      {{{"model", {{"end_of_word_suffix", "</w>"}}}}, "/model/end_of_word_suffix: \"</w>\""},
      {{{"model", {{"unk_token", "<s>"}, {"vocab", {{"!", nullptr}}}}}}, "/model/unk_token: an unknown token"},
      {{{"model", {{"byte_fallback", true}, {"vocab", {{"!", nullptr}}}}}}, "/model: byte_fallback"},
  };
  for (const auto& [patch, message] : cases) {
    const Status status = status_of(patch);
    EXPECT_TRUE(absl::IsUnimplemented(status)) << patch << " gave " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string("models/tokenizer.json: ") + message));
  }
}

TEST(Tokenizer, SaysWhatIsWrongAndWhere) {
  json added = small_tokenizer()["added_tokens"];
  added[1]["id"] = 5000;
  json twice = small_tokenizer()["added_tokens"];
  twice.push_back(twice[0]);
  twice.back()["lstrip"] = true;
  const json unlisted = {{"type", "TemplateProcessing"},
                         {"single", {{{"SpecialToken", {{"id", "<x>"}}}}}},
                         {"special_tokens", json::object()}};
  const std::pair<json, const char*> cases[] = {
      {{{"model", {{"merges", {"a b", "a"}}}}}, "/model/merges: entry 1 is neither"},
      {{{"model", {{"merges", {"a b c"}}}}}, "/model/merges: entry 0 is neither"},
      {{{"model", {{"merges", {{"a", "b", "c"}}}}}}, "/model/merges: entry 0 is neither"},
      {{{"model", {{"merges", {"a z"}}}}}, "/model/merges: entry 0 needs the token \"az\", which is not in the vocab"},
      {{{"model", {{"merges", {"a unknown"}}}}}, "/model/merges: entry 0 needs the token \"unknown\""},
      {{{"model", {{"merges", 5}}}}, "/model/merges: expected an array, found number"},
      {{{"model", {{"vocab", 5}}}}, "/model/vocab: expected an object, found number"},
      {{{"model", {{"vocab", {{"q", -1}}}}}}, "/model/vocab/q: expected a token id, found number"},
      {{{"model", {{"vocab", {{"q", 1.5}}}}}}, "/model/vocab/q: expected a token id, found number"},
      {{{"model", {{"vocab", {{"q", 4294967296}}}}}}, "/model/vocab/q: token id 4294967296 is too large"},
      {{{"model", {{"vocab", {{"q", 0}}}}}}, "/model/vocab: two tokens have the id 0"},
      {{{"model", nullptr}}, "/model: expected an object, found null"},
      {{{"added_tokens", added}}, "/model: added token \"</s>\" has id 5000 but the next free id is "},
      {{{"added_tokens", twice}}, "/model: added token \"<s>\" is listed twice, differently"},
      {{{"added_tokens", {1}}}, "/added_tokens/0: expected an object, found number"},
      {{{"pre_tokenizer", nullptr}, {"model", {{"unk_token", "<x>"}}}}, "/model/unk_token: \"<x>\" is not in the voc"},
      {{{"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}}},
       "/pre_tokenizer: the replacement must be one character"},
      {{{"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "often"}}}},
       "/pre_tokenizer/prepend_scheme: unknown prepend_scheme \"often\""},
      {{{"decoder", {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}}}},
       "/decoder/start: expected a count, found number"},
      {{{"post_processor", {{"type", "RobertaProcessing"}, {"cls", {"<s>"}}}}},
       "/post_processor: cls is not a token and its id"},
      {{{"normalizer", "NFC"}}, "/normalizer: expected an object, found string"},
      {{{"post_processor", unlisted}}, "/post_processor/special_tokens: the template names \"<x>\""},
  };
  for (const auto& [patch, message] : cases) {
    const Status status = status_of(patch);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << patch << " gave " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string("models/tokenizer.json: ") + message));
  }
}

TEST(Tokenizer, RefusesSequencesNestedTooDeeply) {
  json sequence = {{"type", "Lowercase"}};
  for (int i = 0; i < 40; ++i) sequence = {{"type", "Sequence"}, {"normalizers", {sequence}}};
  const Status status = status_of({{"normalizer", sequence}});
  EXPECT_THAT(std::string(status.message()), HasSubstr("nested too deeply"));
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const Tokenizer tokenizer = parse_or_die(small_tokenizer());
  const Status status = tokenizer.encode("hello \xC3(", true).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(std::string(status.message()), "the text is not UTF-8 at byte 6");
}

TEST(Tokenizer, DecodesAnyIds) {
  const Tokenizer tokenizer = parse_or_die(small_tokenizer());
  EXPECT_EQ(tokenizer.decode({}, false), "");
  EXPECT_EQ(tokenizer.decode({-1, INT32_MIN, INT32_MAX, static_cast<int32_t>(tokenizer.vocab_size())}, false), "");
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(static_cast<int32_t>(random() % 320));
    const std::string text = tokenizer.decode(ids, false);
    EXPECT_TRUE(tokenizer.encode(text, false).ok());  // that is, it is UTF-8
  }
}

TEST(Tokenizer, TextComesBackFromItsIds) {
  const Tokenizer tokenizer = parse_or_die(small_tokenizer());
  std::mt19937 random(9);
  const char* parts[] = {"hello", " ",  "\n", "\xEA\xB0\x80", "\xF0\x9F\x98\x80", "<s>", "12", "'s", "-",
                         "\t",    "ab", "x"};
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (size_t n = random() % 30; n > 0; --n) text += parts[random() % std::size(parts)];
    const auto ids = tokenizer.encode(text, false);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(tokenizer.decode(*ids, false), text);
  }
}

TEST(Tokenizer, VocabSizeIsTheLargestIdPlusOne) {
  json document = small_tokenizer();
  const int64_t size = static_cast<int64_t>(document["model"]["vocab"].size());
  EXPECT_EQ(parse_or_die(document).vocab_size(), size + 2);  // </s> and <mask>; <s> is in the vocabulary
  document["added_tokens"] = json::array();
  document["model"]["vocab"]["far"] = 4000;
  EXPECT_EQ(parse_or_die(document).vocab_size(), 4001);
}

TEST(Tokenizer, ManyThreadsMayShareOne) {
  const Tokenizer tokenizer = parse_or_die(small_tokenizer());
  std::string text;
  for (int i = 0; i < 300; ++i) text += " hello world " + std::to_string(i * 37) + " \xED\x95\x9C\xEA\xB5\xAD<mask>abc";
  const auto expected = tokenizer.encode(text, true);
  ASSERT_TRUE(expected.ok());
  std::vector<std::vector<int32_t>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        const auto ids = tokenizer.encode(text, true);
        if (ids.ok() && tokenizer.decode(*ids, false) == text) result = *ids;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, *expected);
}

}  // namespace
}  // namespace gridquant::text
