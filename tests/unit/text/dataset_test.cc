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

  StatusOr<Sequences> load(const DatasetSpec& spec, int64_t length, uint64_t seed, bool shuffle) {
    return load_sequences(*env_, tokenizer_, spec, length, seed, shuffle);
  }

  // `count` numbered words; every window of a few tokens is another one.
  static std::string numbered(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "w" + std::to_string(i * 7919 + 10000) + " ";
    return text;
  }

  std::unique_ptr<base::Env> env_ = base::make_memory_env();
  Tokenizer tokenizer_ = parse_or_die(small_tokenizer());
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

}  // namespace
}  // namespace gridquant::text
