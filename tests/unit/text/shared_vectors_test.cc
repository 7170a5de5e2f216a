// Real tokenizers on the shared test vectors (skipped where ../shared/data is absent).
#include <sstream>
#include <vector>

#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

class SharedVectors : public testing::TestWithParam<const char*> {};

TEST_P(SharedVectors, AreExact) {
  const std::string json_path = shared_data(std::string("tokenizers/") + GetParam() + "/tokenizer.json");
  const std::string vectors_path = shared_data(std::string("tokenizers/testvectors/") + GetParam() + ".jsonl");
  if (json_path.empty() || vectors_path.empty()) GTEST_SKIP() << "no shared test data: set GRIDQUANT_TEST_DATA";
  const auto json = base::read_file(base::posix_env(), json_path);
  const auto vectors = base::read_file(base::posix_env(), vectors_path);
  ASSERT_TRUE(json.ok() && vectors.ok());
  const auto tokenizer = Tokenizer::parse(*json, json_path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::istringstream lines(*vectors);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const nlohmann::json expected = nlohmann::json::parse(line);
    SCOPED_TRACE(line);
    const std::string text = expected["text"];
    const auto plain = tokenizer->encode(text, false);
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(*plain, expected["ids"].get<std::vector<int32_t>>());
    const auto special = tokenizer->encode(text, true);
    ASSERT_TRUE(special.ok()) << special.status();
    EXPECT_EQ(*special, expected["ids_special"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer->decode(*plain, false), expected["decoded"].get<std::string>());
  }
  EXPECT_GE(count, 300);
}

INSTANTIATE_TEST_SUITE_P(Json, SharedVectors, testing::Values("qwen3", "llama3_1", "gemma3", "mistral_v1_json"),
                         [](const auto& param) { return std::string(param.param); });

class SharedSentencePiece : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(SharedSentencePiece, IsExact) {
  const std::string model_path = shared_data(std::string("tokenizers/") + GetParam().second);
  const std::string vectors_path = shared_data(std::string("tokenizers/testvectors/") + GetParam().first + ".jsonl");
  if (model_path.empty() || vectors_path.empty()) GTEST_SKIP() << "no shared test data: set GRIDQUANT_TEST_DATA";
  const auto model = base::read_file(base::posix_env(), model_path);
  const auto vectors = base::read_file(base::posix_env(), vectors_path);
  ASSERT_TRUE(model.ok() && vectors.ok());
  const auto tokenizer = Tokenizer::parse_sentencepiece(*model, model_path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::istringstream lines(*vectors);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const nlohmann::json expected = nlohmann::json::parse(line);
    SCOPED_TRACE(line);
    const std::string text = expected["text"];
    const auto plain = tokenizer->encode(text, false);
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(*plain, expected["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer->decode(*plain, false), text);
  }
  EXPECT_GE(count, 300);
}

INSTANTIATE_TEST_SUITE_P(Models, SharedSentencePiece,
                         testing::Values(std::pair("llama2_spm", "llama2_spm/tokenizer.model"),
                                         std::pair("mistral_v1_spm", "mistral/tokenizer.model.v1"),
                                         std::pair("mistral_v3_spm",
                                                   "mistral/mistral_instruct_tokenizer_240323.model.v3")),
                         [](const auto& param) { return std::string(param.param.first); });

}  // namespace
}  // namespace gridquant::text
