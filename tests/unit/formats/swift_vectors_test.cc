// Every vector of swift-transformers in the shared test data (skipped where ../shared/data is absent): run with the
// tokenizer it was made with where that is among the data and of a kind that models of ours have, otherwise listed with
// the reason. A vector that is not listed fails.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/formats/gguf/file.h"
#include "engine/formats/gguf/tokenizer.h"
#include "engine/text/tokenizer.h"
#include "tests/unit/formats/testing.h"

namespace gridquant::formats {
namespace {

using nlohmann::json;
using text::Tokenizer;

constexpr char kGpt2[] = "llamacpp_vocab/ggml-vocab-gpt-2.gguf";
constexpr char kLlama2[] = "llama2_spm/tokenizer.model";
constexpr char kLlama3[] = "llama3_1/tokenizer.json";  // Llama 3.2 has the same

struct Vectors {
  std::string tokenizer;  // below tokenizers/; "": not run
  std::string reason;     // why not
};

const std::map<std::string, Vectors>& listed() {
  constexpr char kOtherVocabulary[] = "Gemma 1, whose vocabulary is not among the data (Gemma 3 has another)";
  constexpr char kFalcon[] = "Falcon's pre-tokenizer (Digits) belongs to no architecture of ours";
  constexpr char kWordPiece[] = "WordPiece: encoders, no architecture of ours";
  constexpr char kUnigram[] = "Unigram: T5, no architecture of ours";
  constexpr char kWhisper[] = "speech recognition; its vocabulary is not among the data";
  static const std::map<std::string, Vectors> vectors = {
      {"gpt2_encoded_tokens.json", {kGpt2, ""}},
      {"distilgpt2", {kGpt2, ""}},
      {"llama_encoded.json", {kLlama2, ""}},
      {"coreml-projects/Llama-2-7b-chat-coreml", {kLlama2, ""}},
      {"llama_3.2_encoded.json", {kLlama3, ""}},
      {"pcuenq/Llama-3.2-1B-Instruct-tokenizer", {kLlama3, ""}},
      {"gemma_encoded.json", {"", kOtherVocabulary}},
      {"pcuenq/gemma-tokenizer", {"", kOtherVocabulary}},
      {"falcon_encoded.json", {"", kFalcon}},
      {"tiiuae/falcon-7b", {"", kFalcon}},
      {"t5_base_encoded.json", {"", kUnigram}},
      {"t5-base", {"", kUnigram}},
      {"bert-base-uncased", {"", kWordPiece}},
      {"google-bert/bert-base-uncased", {"", kWordPiece}},
      {"distilbert/distilbert-base-multilingual-cased", {"", kWordPiece}},
      {"openai/whisper-tiny.en", {"", kWhisper}},
      {"openai/whisper-large-v2", {"", kWhisper}},
  };
  return vectors;
}

// What transformers does to a decoded text where tokenizer_config.json asks for it (clean_up_tokenization_spaces, the
// default of the time of these vectors). It is not the tokenizer's doing, and nothing of ours decodes for the eye.
std::string cleaned_up(std::string text) {
  for (const auto& [from, to] : {std::pair(" .", "."), std::pair(" ?", "?"), std::pair(" !", "!"), std::pair(" ,", ","),
                                 std::pair(" ' ", "'"), std::pair(" n't", "n't"), std::pair(" 'm", "'m"),
                                 std::pair(" 's", "'s"), std::pair(" 've", "'ve"), std::pair(" 're", "'re")}) {
    const std::string_view old = from;
    for (size_t at = text.find(old); at != std::string::npos; at = text.find(old, at)) text.replace(at, old.size(), to);
  }
  return text;
}

bool cleans_up(const std::string& model) {
  return !model.starts_with("coreml-projects/Llama-2");
}

class SwiftVectors : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("GRIDQUANT_TEST_DATA");
    root_ = std::string(data != nullptr ? data : GRIDQUANT_SOURCE_DIR "/../shared/data") + "/tokenizers/";
    if (!std::filesystem::exists(folder())) GTEST_SKIP() << "no shared test data: set GRIDQUANT_TEST_DATA";
  }
  std::string folder() const { return root_ + "testvectors/swift-transformers"; }

  StatusOr<Tokenizer> open(const std::string& name) {
    const std::string path = root_ + name;
    if (path.ends_with(".gguf")) {
      GQ_ASSIGN_OR_RETURN(const auto file, GgufFile::open(base::posix_env(), path));
      GQ_ASSIGN_OR_RETURN(const std::string made, gguf_tokenizer_json(file.values(), path));
      return Tokenizer::parse(made, path);
    }
    const std::string bytes = get(base::posix_env(), path);
    return path.ends_with(".model") ? Tokenizer::parse_sentencepiece(bytes, path) : Tokenizer::parse(bytes, path);
  }

  // Null where the vectors are listed as not to be run.
  const Tokenizer* tokenizer_of(const std::string& name) {
    const auto it = listed().find(name);
    if (it == listed().end()) {
      ADD_FAILURE() << name << " is neither run nor listed with a reason";
      return nullptr;
    }
    const std::string& file = it->second.tokenizer;
    if (file.empty()) {
      std::printf("not run: %s: %s\n", name.c_str(), it->second.reason.c_str());
      return nullptr;
    }
    if (!tokenizers_.contains(file)) {
      StatusOr<Tokenizer> opened = open(file);
      EXPECT_TRUE(opened.ok()) << opened.status();
      if (!opened.ok()) return nullptr;
      tokenizers_.emplace(file, *std::move(opened));
    }
    return &tokenizers_.at(file);
  }

  void expect_ids(const Tokenizer& tokenizer, const std::string& text, const json& ids) {
    const auto made = tokenizer.encode(text, true);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(*made, ids.get<std::vector<int32_t>>()) << text;
  }

  std::string root_;
  std::map<std::string, Tokenizer> tokenizers_;
};

TEST_F(SwiftVectors, AreExact) {
  int run = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    const std::string name = entry.path().filename().string();
    const json content = json::parse(get(base::posix_env(), entry.path().string()));
    SCOPED_TRACE(name);
    if (content.contains("token_ids")) {
      const Tokenizer* tokenizer = tokenizer_of(name);
      if (tokenizer == nullptr) continue;
      expect_ids(*tokenizer, content.at("text"), content.at("token_ids"));
      EXPECT_EQ(tokenizer->decode(content.at("token_ids").get<std::vector<int32_t>>(), false),
                content.at("decoded_text").get<std::string>());
      ++run;
      continue;
    }
    for (const auto& [model, cases] : content.items()) {
      SCOPED_TRACE(model);
      const Tokenizer* tokenizer = tokenizer_of(model);
      if (tokenizer == nullptr) continue;
      for (const json& one : cases) {
        const json& ids = one.at("encoded").at("input_ids");
        const auto decoded = [&](bool skip_special) {
          const std::string text = tokenizer->decode(ids.get<std::vector<int32_t>>(), skip_special);
          return cleans_up(model) ? cleaned_up(text) : text;
        };
        expect_ids(*tokenizer, one.at("input"), ids);
        EXPECT_EQ(decoded(false), one.at("decoded_with_special").get<std::string>());
        EXPECT_EQ(decoded(true), one.at("decoded_without_special").get<std::string>());
        ++run;
      }
    }
  }
  EXPECT_GE(run, 50);
}

}  // namespace
}  // namespace gridquant::formats
