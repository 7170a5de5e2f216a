// Every feature beside what Hugging Face tokenizers gave for it (made by tests/interop/make_tokenizer_vectors.py).
#include <sstream>
#include <vector>

#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

void expect_case(const Tokenizer& tokenizer, const nlohmann::json& expected) {
  const std::string text = expected["text"];
  const std::vector<int32_t> ids = expected["ids"];
  const std::vector<int32_t> ids_special = expected.value("ids_special", ids);
  const std::string decoded = expected.value("decoded", text);
  SCOPED_TRACE("text: " + text);
  const auto plain = tokenizer.encode(text, false);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(*plain, ids);
  const auto special = tokenizer.encode(text, true);
  ASSERT_TRUE(special.ok()) << special.status();
  EXPECT_EQ(*special, ids_special);
  EXPECT_EQ(tokenizer.decode(ids_special, false), decoded);
  EXPECT_EQ(tokenizer.decode(ids_special, true), expected.value("decoded_plain", decoded));
}

TEST(Vectors, EveryFeatureGivesTheIdsOfHuggingFaceTokenizers) {
  const auto content =
      base::read_file(base::posix_env(), std::string(GRIDQUANT_SOURCE_DIR) + "/tests/unit/text/vectors.jsonl");
  ASSERT_TRUE(content.ok()) << content.status();
  std::istringstream lines(*content);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const nlohmann::json start = nlohmann::json::parse(line);
  int features = 0;
  while (std::getline(lines, line)) {
    const nlohmann::json feature = nlohmann::json::parse(line);
    SCOPED_TRACE("feature: " + feature["name"].get<std::string>());
    nlohmann::json document = start;
    document.merge_patch(feature["patch"]);
    const auto tokenizer = parse(document);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (const nlohmann::json& expected : feature["cases"]) expect_case(*tokenizer, expected);
    ++features;
  }
  EXPECT_GE(features, 70);
}

}  // namespace
}  // namespace gridquant::text
