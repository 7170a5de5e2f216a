// Vocabularies of GGUF files through our own tokenizer, on llama.cpp's test vectors (skipped where ../shared/data is
// absent). The same files through Hugging Face tokenizers: tests/interop/gguf_vocab.py.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "engine/formats/gguf/file.h"
#include "engine/formats/gguf/tokenizer.h"
#include "engine/text/tokenizer.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

class GgufVocabulary : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufVocabulary, GivesLlamaCppsIds) {
  const char* folder = std::getenv("GRIDQUANT_TEST_DATA");
  const std::string root = folder != nullptr ? folder : GRIDQUANT_SOURCE_DIR "/../shared/data";
  const std::string path = root + "/tokenizers/llamacpp_vocab/ggml-vocab-" + GetParam() + ".gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no shared test data: set GRIDQUANT_TEST_DATA";
  const auto file = GgufFile::open(base::posix_env(), path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto json = gguf_tokenizer_json(file->values(), path);
  ASSERT_TRUE(json.ok()) << json.status();
  const auto tokenizer = text::Tokenizer::parse(*json, path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto texts = split(get(base::posix_env(), path + ".inp"), "\n__ggml_vocab_test__\n");
  const auto lines = split(get(base::posix_env(), path + ".out"), "\n");
  ASSERT_GT(texts.size(), 30u);
  ASSERT_GE(lines.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = tokenizer->encode(texts[i], false);
    ASSERT_TRUE(ids.ok()) << ids.status();
    std::string found;
    for (const int32_t id : *ids) found += " " + std::to_string(id);
    EXPECT_EQ(found, lines[i]) << texts[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GgufVocabulary,
                         ::testing::Values("deepseek-coder", "gpt-2", "llama-spm", "mpt", "phi-3", "refact",
                                           "starcoder"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace gridquant::formats
