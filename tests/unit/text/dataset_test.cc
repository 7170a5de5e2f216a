// Windows, their choice by seed, the messages, the digest.
#include "engine/text/dataset.h"

#include <algorithm>
#include <set>

#include "engine/base/digest.h"
#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

using testing::HasSubstr;

class DatasetTest : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(env_->make_folders(base::folder_of(path)).ok());
    ASSERT_TRUE(base::write_file_atomically(*env_, path, text).ok());
  }

  struct Plain {
    std::string path;
    std::string language;
    int64_t samples = 0;
  };
  StatusOr<Sequences> load(const Plain& plain, int64_t length, uint64_t seed, bool shuffle) {
    const DatasetSpec spec{.documents = {.path = plain.path}, .language = plain.language, .samples = plain.samples};
    return load_sequences(*env_, model_, spec, {length, seed, shuffle});
  }

  // `count` numbered words; every window of a few tokens is another one.
  static std::string numbered(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "w" + std::to_string(i * 7919 + 10000) + " ";
    return text;
  }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  TextModel model_{parse_or_die(small_tokenizer()), absl::NotFoundError("no template"), {}};
  const Tokenizer& tokenizer_ = model_.tokenizer;
};

std::set<std::vector<int32_t>> windows_of(const Sequences& sequences) {
  std::set<std::vector<int32_t>> windows;
  for (int64_t i = 0; i < sequences.count(); ++i) {
    const auto first = sequences.ids.begin() + i * sequences.length;
    windows.emplace(first, first + sequences.length);
  }
  return windows;
}

TEST_F(DatasetTest, WindowsLieBackToBackAndTheRestIsLeftOut) {
  write("en.txt", numbered(100));
  const auto ids = tokenizer_.encode(numbered(100), true);
  ASSERT_TRUE(ids.ok());
  const auto all = load({"en.txt", "en", 0}, 16, 1, true);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->language, "en");
  EXPECT_EQ(all->length, 16);
  EXPECT_EQ(all->tokens_available, static_cast<int64_t>(ids->size()));
  EXPECT_EQ(all->count(), static_cast<int64_t>(ids->size()) / 16);
  EXPECT_NE(ids->size() % 16, 0u);
  EXPECT_TRUE(std::equal(all->ids.begin(), all->ids.end(), ids->begin()));
  const auto first = load({"en.txt", "en", 3}, 16, 1, false);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->ids, std::vector<int32_t>(ids->begin(), ids->begin() + 48));
}

TEST_F(DatasetTest, TheSeedChoosesAndNothingElseDoes) {
  write("a.txt", numbered(200));
  const auto all = load({"a.txt", "en", 0}, 8, 0, false);
  const auto one = load({"a.txt", "en", 20}, 8, 42, true);
  const auto again = load({"a.txt", "en", 20}, 8, 42, true);
  const auto other = load({"a.txt", "en", 20}, 8, 43, true);
  ASSERT_TRUE(all.ok() && one.ok() && again.ok() && other.ok());
  EXPECT_EQ(one->ids, again->ids);
  EXPECT_NE(one->ids, other->ids);
  EXPECT_EQ(one->count(), 20);
  const auto every = windows_of(*all);
  EXPECT_EQ(every.size(), static_cast<size_t>(all->count()));
  const auto chosen = windows_of(*one);
  EXPECT_EQ(chosen.size(), 20u);  // none twice
  EXPECT_TRUE(std::includes(every.begin(), every.end(), chosen.begin(), chosen.end()));
  const auto fewer = load({"a.txt", "en", 5}, 8, 42, true);
  ASSERT_TRUE(fewer.ok());
  EXPECT_TRUE(std::equal(fewer->ids.begin(), fewer->ids.end(), one->ids.begin()));
}

// The order was worked out in Python from what dataset.h writes down.
TEST_F(DatasetTest, TheShuffleIsTheOneWrittenDown) {
  write("a.txt", "zyvut");  // five tokens: no merge joins these letters
  const auto shuffled = load({"a.txt", "", 5}, 1, 42, true);
  ASSERT_TRUE(shuffled.ok()) << shuffled.status();
  EXPECT_EQ(tokenizer_.decode(shuffled->ids, false), "yvtzu");
}

TEST_F(DatasetTest, SaysWhatIsMissing) {
  const Status missing = load({"data/ko.txt", "ko", 1}, 4, 0, true).status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("data/ko.txt"));

  write("empty.txt", "");
  const Status empty = load({"empty.txt", "ko", 0}, 4, 0, true).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(empty));
  EXPECT_EQ(std::string(empty.message()), "text empty.txt (ko) is empty");

  std::string many;
  for (int i = 0; i < 1900; ++i) many += "z";
  write("data/ko.txt", many);
  const Status few = load({"data/ko.txt", "ko", 64}, 512, 0, true).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(few));
  EXPECT_EQ(
      std::string(few.message()),
      "text data/ko.txt (ko) gives 3 windows of 512 tokens (1,900 tokens), 64 are needed: add text, lower samples "
      "or sequenceLength");
  EXPECT_TRUE(absl::IsFailedPrecondition(load({"data/ko.txt", "ko", 0}, 4096, 0, true).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(load({"data/ko.txt", "ko", 1}, 0, 0, true).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(load({"data/ko.txt", "ko", -1}, 4, 0, true).status()));

  write("bad.txt", "one\ntwo\nth\xFFree\n");
  const Status bad = load({"bad.txt", "en", 1}, 1, 0, true).status();
  EXPECT_TRUE(absl::IsInvalidArgument(bad));
  EXPECT_EQ(std::string(bad.message()), "text bad.txt (en) is not UTF-8 at line 3, byte 10");
}

TEST_F(DatasetTest, TheDigestIsAboutLengthsAndIds) {
  const Sequences a{"en", 2, {1, 2, 3, -4}, 4};
  const std::string bytes = std::string("\x02\0\0\0\0\0\0\0", 8) + std::string("\x04\0\0\0\0\0\0\0", 8) +
                            std::string("\x01\0\0\0\x02\0\0\0\x03\0\0\0\xFC\xFF\xFF\xFF", 16);
  EXPECT_EQ(digest_of_sequences({a}), base::digest_of(bytes));
  EXPECT_EQ(digest_of_sequences({}), base::digest_of(""));
  const Sequences other_length{"en", 4, {1, 2, 3, -4}, 4};
  const Sequences first{"en", 2, {1, 2}, 4};
  const Sequences second{"en", 2, {3, -4}, 4};
  EXPECT_NE(digest_of_sequences({a}), digest_of_sequences({other_length}));
  EXPECT_NE(digest_of_sequences({a}), digest_of_sequences({first, second}));
  EXPECT_NE(digest_of_sequences({first, second}), digest_of_sequences({second, first}));
}

// Documents of two words each: "<s>" is what the tokenizer adds in front, "</s>" the model's EOS.
TEST_F(DatasetTest, DocumentsAreJoinedWithEos) {
  model_.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  const std::optional<int32_t> eos = special_token_id(model_, "eos_token");
  ASSERT_TRUE(eos.has_value());
  EXPECT_FALSE(special_token_id(model_, "pad_token").has_value());
  write("d.jsonl", "{\"text\": \"first one\"}\n{\"text\": \"second one\"}\n");
  const auto first = tokenizer_.encode("first one", true);
  const auto second = tokenizer_.encode("second one", true);
  ASSERT_TRUE(first.ok() && second.ok());
  std::vector<int32_t> expected = *first;
  if (expected.back() != *eos) expected.push_back(*eos);
  expected.insert(expected.end(), second->begin(), second->end());
  const auto all = load({"d.jsonl", "en", 0}, 1, 0, false);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->ids, expected);
  EXPECT_EQ(all->documents, 2);
}

TEST_F(DatasetTest, ConversationsHaveNoBosButTheTemplates) {
  model_.chat = ChatTemplate::make("<s>{% for m in messages %}{{ m.content }}{% endfor %}", "t", {});
  write("c.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}\n");
  const auto expected = tokenizer_.encode("<s>hello", false);
  const auto all = load({"c.jsonl", "en", 0}, 1, 0, false);
  ASSERT_TRUE(all.ok() && expected.ok()) << all.status();
  EXPECT_EQ(all->ids, *expected);
}

TEST_F(DatasetTest, PackingByDocumentsTakesTheirBegin) {
  write("d.jsonl", "{\"text\": \"a\"}\n{\"text\": \"" + numbered(20) + "\"}\n{\"text\": \"" + numbered(30) + "\"}\n");
  const DatasetSpec spec{.documents = {.path = "d.jsonl"}, .language = "en", .samples = 2};
  const auto two = load_sequences(*env_, model_, spec, {16, 0, false, Packing::kDocuments});
  ASSERT_TRUE(two.ok()) << two.status();
  const auto whole = tokenizer_.encode(numbered(20), true);
  EXPECT_TRUE(std::equal(two->ids.begin(), two->ids.begin() + 16, whole->begin()));
  DatasetSpec more = spec;
  more.samples = 3;
  EXPECT_THAT(std::string(load_sequences(*env_, model_, more, {16, 0, false, Packing::kDocuments}).status().message()),
              HasSubstr("gives 2 documents of at least 16 tokens (3 documents, "));
}

TEST_F(DatasetTest, FilesWithoutTextAreRefused) {
  write("blank.jsonl", "\n{\"text\": \"\"}\n");
  EXPECT_THAT(std::string(load({"blank.jsonl", "en", 0}, 4, 0, false).status().message()),
              HasSubstr("has no text in it"));
  write("tools.jsonl", "{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}");
  EXPECT_THAT(std::string(load({"tools.jsonl", "en", 0}, 4, 0, false).status().message()),
              HasSubstr("has only conversations with tools"));
}

TEST(ShareSamplesTest, SharesExactly) {
  using Shares = std::vector<int64_t>;
  EXPECT_EQ(share_samples(10, {1, 1, 1}).value(), (Shares{4, 3, 3}));
  EXPECT_EQ(share_samples(10, {3, 1}).value(), (Shares{8, 2}));  // 7.5 and 2.5: the first of equal remainders
  EXPECT_EQ(share_samples(7, {0.5, 0.25, 0.25}).value(), (Shares{3, 2, 2}));
  EXPECT_EQ(share_samples(128, {0.7, 0.3}).value(), (Shares{90, 38}));
  EXPECT_EQ(share_samples(5, {2}).value(), (Shares{5}));
  EXPECT_THAT(std::string(share_samples(10, {1, 0}).status().message()),
              HasSubstr("data set 2: its weight must be above 0"));
  EXPECT_THAT(std::string(share_samples(10, {1000, 1}).status().message()),
              HasSubstr("data set 2 of 2 would get none of the 10 samples"));
}

}  // namespace
}  // namespace gridquant::text
