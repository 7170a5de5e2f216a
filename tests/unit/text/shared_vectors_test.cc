// Real tokenizers on the shared test vectors (skipped where ../shared/data is absent).
#include <functional>
#include <sstream>
#include <vector>

#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

// A tokenizer's file and the vectors for it: {"text": ..., "ids": [...], ...} a line.
class SharedFiles {
 public:
  SharedFiles(const std::string& tokenizer, const std::string& vectors)
      : path_(shared_data("tokenizers/" + tokenizer)),
        vectors_path_(shared_data("tokenizers/testvectors/" + vectors + ".jsonl")) {}

  bool there() const { return !path_.empty() && !vectors_path_.empty(); }
  const std::string& path() const { return path_; }
  std::string content() const { return read(path_); }

  void each_vector(const std::function<void(const nlohmann::json& expected)>& check) const {
    std::istringstream lines(read(vectors_path_));
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
      SCOPED_TRACE(line);
      check(nlohmann::json::parse(line));
    }
    EXPECT_GE(count, 300);
  }

 private:
  static std::string read(const std::string& path) {
    const auto text = base::read_file(base::posix_env(), path);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }

  std::string path_, vectors_path_;
};

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, const std::string& text, bool special) {
  const auto ids = tokenizer.encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<int32_t>();
}

class SharedVectors : public testing::TestWithParam<const char*> {};

TEST_P(SharedVectors, AreExact) {
  const SharedFiles files(std::string(GetParam()) + "/tokenizer.json", GetParam());
  if (!files.there()) GTEST_SKIP() << "no shared test data: set GRIDQUANT_TEST_DATA";
  const auto tokenizer = Tokenizer::parse(files.content(), files.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  files.each_vector([&](const nlohmann::json& expected) {
    const std::string text = expected["text"];
    const std::vector<int32_t> plain = ids_of(*tokenizer, text, false);
    EXPECT_EQ(plain, expected["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(ids_of(*tokenizer, text, true), expected["ids_special"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer->decode(plain, false), expected["decoded"].get<std::string>());
  });
}

INSTANTIATE_TEST_SUITE_P(Json, SharedVectors, testing::Values("qwen3", "llama3_1", "gemma3", "mistral_v1_json"),
                         [](const auto& param) { return std::string(param.param); });

class SharedSentencePiece : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(SharedSentencePiece, IsExact) {
  const SharedFiles files(GetParam().second, GetParam().first);
  if (!files.there()) GTEST_SKIP() << "no shared test data: set GRIDQUANT_TEST_DATA";
  const auto tokenizer = Tokenizer::parse_sentencepiece(files.content(), files.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  files.each_vector([&](const nlohmann::json& expected) {
    const std::string text = expected["text"];
    const std::vector<int32_t> plain = ids_of(*tokenizer, text, false);
    EXPECT_EQ(plain, expected["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer->decode(plain, false), text);
  });
}

INSTANTIATE_TEST_SUITE_P(Models, SharedSentencePiece,
                         testing::Values(std::pair("llama2_spm", "llama2_spm/tokenizer.model"),
                                         std::pair("mistral_v1_spm", "mistral/tokenizer.model.v1"),
                                         std::pair("mistral_v3_spm",
                                                   "mistral/mistral_instruct_tokenizer_240323.model.v3")),
                         [](const auto& param) { return std::string(param.param.first); });

}  // namespace
}  // namespace gridquant::text
