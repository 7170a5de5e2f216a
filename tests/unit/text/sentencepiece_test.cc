// A SentencePiece model written field by field: what is read, what is refused, and that no damage crashes.
// (tests/interop/sentencepiece_models.py compares whole models with the library.)
#include "engine/text/sentencepiece.h"

#include <bit>
#include <limits>
#include <random>

#include "engine/text/dataset.h"
#include "tests/unit/text/testing.h"

namespace gridquant::text {
namespace {

using testing::HasSubstr;
using Type = SentencePieceModel::PieceType;

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(0x80 | (value & 0x7F)));
  out.push_back(static_cast<char>(value));
  return out;
}

std::string number(uint64_t field, uint64_t value) {
  return varint(field << 3) + varint(value);
}

std::string bytes(uint64_t field, const std::string& value) {
  return varint(field << 3 | 2) + varint(value.size()) + value;
}

std::string piece(const std::string& text, float score, Type type = Type::kNormal) {
  std::string fixed = varint(2 << 3 | 5);
  for (int i = 0; i < 4; ++i) fixed.push_back(static_cast<char>(std::bit_cast<uint32_t>(score) >> (8 * i)));
  return bytes(1, bytes(1, text) + fixed + number(3, static_cast<uint64_t>(type)));
}

std::string trainer(uint64_t model_type = 2) {
  return bytes(2, number(3, model_type));
}

std::string normalizer(bool extra_whitespaces = false) {
  return bytes(3, bytes(1, "identity") + number(3, 1) + number(4, extra_whitespaces ? 1 : 0) + number(5, 1));
}

// "ab" before "bc", "abc" last; runs of spaces share one score.
std::string small_model() {
  const std::string space = "\xE2\x96\x81";
  return piece("<unk>", 0, Type::kUnknown) + piece("<s>", 0, Type::kControl) + piece("</s>", 0, Type::kControl) +
         piece("ab", -1) + piece("bc", -2) + piece("abc", -3) + piece(space + space, -9) +
         piece(space + space + space, -9) + piece("a", -10) + piece("b", -10) + piece("c", -10) + piece(space, -10) +
         piece("<sep>", 0, Type::kUserDefined) + trainer() + normalizer();
}

std::vector<int32_t> ids_of(const std::string& model, const std::string& text) {
  const auto tokenizer = Tokenizer::parse_sentencepiece(model, "tokenizer.model");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  if (!tokenizer.ok()) return {};
  const auto ids = tokenizer->encode(text, true);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.value_or(std::vector<int32_t>());
}

TEST(SentencePiece, MergesByScoreThenFromTheLeft) {
  EXPECT_EQ(ids_of(small_model(), "abc"), (std::vector<int32_t>{1, 11, 5}));
  EXPECT_EQ(ids_of(small_model(), "bcab"), (std::vector<int32_t>{1, 11, 4, 3}));
  // Five with the one in front. A pair and a triple are as good as each other, so the leftmost is merged, and grows.
  EXPECT_EQ(ids_of(small_model(), "    "), (std::vector<int32_t>{1, 7, 6}));
  EXPECT_EQ(ids_of(small_model(), "a<sep>b"), (std::vector<int32_t>{1, 11, 8, 12, 9}));
  EXPECT_EQ(ids_of(small_model(), "x\xED\x95\x9Cy"), (std::vector<int32_t>{1, 11, 0}));  // one unknown for all
  EXPECT_EQ(ids_of(small_model(), ""), (std::vector<int32_t>{1}));
}

TEST(SentencePiece, TakesExtraWhiteSpaceAway) {
  const std::string model = small_model() + normalizer(true);
  EXPECT_EQ(ids_of(model, "  abc   abc  "), (std::vector<int32_t>{1, 11, 5, 11, 5}));
  EXPECT_EQ(ids_of(model, "   "), (std::vector<int32_t>{1}));
}

TEST(SentencePiece, DecodesWithoutTheSpaceInFront) {
  const auto tokenizer = Tokenizer::parse_sentencepiece(small_model(), "tokenizer.model");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->decode({1, 11, 5, 11, 3}, true), "abc ab");
  EXPECT_EQ(tokenizer->decode({1, 11, 5}, false), "<s> abc");
  EXPECT_EQ(tokenizer->vocab_size(), 13);
}

TEST(SentencePiece, SaysWhatIsWrongAndWhere) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::string fallback = bytes(2, number(3, 2) + number(35, 1));
  const std::pair<std::string, const char*> cases[] = {
      {"", "not a SentencePiece model: no pieces"},
      {"{\"version\": 1}", "not a SentencePiece model: at byte 1"},
      {small_model().substr(0, 20), "not a SentencePiece model: at byte "},
      {varint(1 << 3 | 2) + varint(1ULL << 63) + "x", "field 1 has 9223372036854775808 bytes, but only 1 are left"},
      {std::string(11, '\xFF'), "a number of more than 64 bits"},
      {varint(1 << 3 | 3), "wire type 3"},
      {varint(0), "field number 0"},
      {bytes(1, number(3, 9)), "a piece of unknown type 9"},
      {bytes(1, bytes(1, "\xFF")), "field 1 is not UTF-8"},
      {bytes(1, number(3, 1)), "piece 0 has no text"},
      {piece("a", nan), "a score is not a number"},
      {number(2, 1), "field 2 is no message"},
      {small_model() + piece("ab", 0), "the piece \"ab\" stands there twice"},
      {piece("a", 0) + trainer() + normalizer(), "no unknown piece"},
      {small_model() + fallback, "byte_fallback with 0 byte pieces, not 256"},
      {small_model() + piece("<0xG0>", 0, Type::kByte) + fallback, "is not like <0x0A>"},
  };
  for (const auto& [model, message] : cases) {
    const Status status = Tokenizer::parse_sentencepiece(model, "m/tokenizer.model").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message << " gave " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("m/tokenizer.model: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(SentencePiece, NamesWhatItDoesNotSupport) {
  const std::pair<std::string, const char*> cases[] = {
      {trainer(1), "a SentencePiece model of type unigram"},
      {bytes(2, number(24, 1)), "treat_whitespace_as_suffix"},
      {bytes(3, bytes(1, "nfkc") + bytes(2, "map")), "the normalization \"nfkc\""},
      {bytes(3, number(5, 0)), "a model that does not escape white space"},
      {piece("q", 0, Type::kUnused), "the unused piece \"q\""},
      {piece("aq", 0), "the piece \"aq\", which has a character that is no piece,"},
  };
  for (const auto& [more, message] : cases) {
    const Status status = Tokenizer::parse_sentencepiece(small_model() + more, "tokenizer.model").status();
    EXPECT_TRUE(absl::IsUnimplemented(status)) << message << " gave " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(message) + " is not supported"));
  }
}

TEST(SentencePiece, IsReadWhereThereIsNoTokenizerJson) {
  ModelTexts texts;
  texts.path_of = [](const std::string& name) { return "folder/" + name; };
  texts.read = [](const std::string& name) -> StatusOr<std::string> {
    if (name == "tokenizer.model") return small_model();
    if (name == "tokenizer_config.json") return std::string(R"({"eos_token": "</s>"})");
    return absl::NotFoundError(name);
  };
  const StatusOr<TextModel> model = read_text_model(texts);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->tokenizer.vocab_size(), 13);
  EXPECT_EQ(special_token_id(*model, "eos_token"), 2);
  const std::vector<int32_t> with_bos = *model->tokenizer.encode("a", true);
  const auto beside = [&](const std::string& config) {
    texts.read = [config](const std::string& name) -> StatusOr<std::string> {
      if (name == "tokenizer.model") return small_model();
      return name == "tokenizer_config.json" ? StatusOr<std::string>(config) : absl::NotFoundError(name);
    };
    return read_text_model(texts);
  };
  const StatusOr<TextModel> without = beside(R"({"add_bos_token": false})");
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_EQ(*without->tokenizer.encode("a", true), std::vector<int32_t>(with_bos.begin() + 1, with_bos.end()));
  EXPECT_EQ(*beside(R"({"add_bos_token": true})")->tokenizer.encode("a", true), with_bos);
  EXPECT_THAT(std::string(beside(R"({"add_eos_token": true})").status().message()),
              HasSubstr("folder/tokenizer_config.json: add_eos_token is not supported"));
  EXPECT_THAT(std::string(beside(R"({"add_bos_token": 1})").status().message()),
              HasSubstr("folder/tokenizer_config.json: \"add_bos_token\" is neither true nor false"));
  texts.read = [](const std::string& name) -> StatusOr<std::string> { return absl::NotFoundError(name); };
  const Status status = read_text_model(texts).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("folder/tokenizer.json: no such file, and no tokenizer.model"));
}

TEST(SentencePiece, DamageIsAnErrorOrATokenizer) {
  const std::string whole = small_model();
  for (size_t size = 0; size < whole.size(); ++size) {
    Tokenizer::parse_sentencepiece(whole.substr(0, size), "m").status().IgnoreError();
  }
  std::mt19937 random(1);
  for (int round = 0; round < 5000; ++round) {
    std::string damaged = whole;
    for (size_t n = 1 + random() % 4; n > 0; --n) damaged[random() % damaged.size()] = static_cast<char>(random());
    const auto tokenizer = Tokenizer::parse_sentencepiece(damaged, "m");
    if (tokenizer.ok()) {
      EXPECT_TRUE(tokenizer->encode(" abc \xED\x95\x9C <sep>", true).ok());
    }
  }
}

}  // namespace
}  // namespace gridquant::text
